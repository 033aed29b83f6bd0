#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "tools/server/commands.h"
#include "tools/server/image.h"
#include "tools/server/json.h"
#include "tools/server/repair.h"
#include "tools/server/salvage.h"
#include "tools/text/units.h"

// A store whose database cannot be opened is repaired elsewhere (repair.h).
namespace stellarium::server {
namespace {

struct LostFile {
  std::string image, path;
};

/// Which files of which images, and which blocks of which volumes, need chunks that cannot be delivered. Contents that
/// many files share are looked into once.
class DamageMap {
 public:
  /// `complete`: `damaged` holds every damaged chunk; else each chunk is also looked up, because the index could not be
  /// walked to its end.
  DamageMap(CommandContext& context, const ChunkSet& damaged, bool complete)
      : context_{context}, damaged_{damaged}, complete_{complete} {}

  Result<std::vector<LostFile>> files() {
    const auto images = context_.store.catalog().list();
    if (!images) return fail(images.error());
    std::vector<LostFile> lost;
    for (const fs::Image& image : *images) {
      if (is_lost(image.manifest, image.manifest_size))
        lost.push_back({image.name.text(), "(layer object: the image still works, a rebuild would lose it)"});
      const fs::LayerReader reader{context_.store.database(), image.layer};
      const auto visit = [&](const Visited& visited) {
        if (visited.inode.body == fs::Body::content && is_lost(visited.inode.content, visited.inode.size))
          lost.push_back({image.name.text(), visited.path});
        return !context_.io.cancelled();
      };
      // One damaged record does not hide the others: a directory that cannot be listed stands for everything below it.
      const auto unreadable = [&](const std::string& path, const Error& error) {
        lost.push_back({image.name.text(), path});
        records_.push_back(image.name.text() + " " + path + ": " + to_string(error));
        return true;
      };
      if (auto walked = walk(reader, "/", fs::kRootIno, visit, unreadable); !walked) return fail(walked.error());
    }
    if (auto added = add_volumes(lost); !added) return fail(added.error());
    return lost;
  }
  /// What was wrong with records of names and inodes: one line each, after files().
  const std::vector<std::string>& damaged_records() const { return records_; }

 private:
  Result<void> add_volumes(std::vector<LostFile>& lost) {
    const auto volumes = context_.store.volumes().list();
    if (!volumes) return fail(volumes.error());
    for (const auto& [name, record] : *volumes) {
      constexpr std::uint64_t kWindow = 16384;  // blocks that are listed at once
      const auto map = fs::BlockMap::open(context_.store.database(), record.map);
      if (!map) records_.push_back("volume " + name + ": " + to_string(map.error()));
      for (std::uint64_t block = 0; map && block * fs::kVolumeBlock < record.size; block += kWindow) {
        const auto blocks = map->list(block, block + kWindow);
        if (!blocks) {
          records_.push_back("volume " + name + ": " + to_string(blocks.error()));
          break;
        }
        for (const auto& [at, extent] : *blocks) {
          if (is_lost(extent.id))
            lost.push_back({"volume " + name, "64 KiB at byte " + std::to_string(at * fs::kVolumeBlock)});
        }
      }
    }
    return {};
  }
  bool is_lost(const cas::ChunkId& chunk) {
    if (damaged_.contains(chunk)) return true;
    if (complete_) return false;
    const auto present = context_.store.contents().has_chunk(chunk);
    return !present || !*present;
  }
  bool is_lost(const cas::ContentId& content, std::uint64_t size) {
    if (size <= cas::kMaxChunk) return is_lost(content);
    const auto known = known_.find(content);
    if (known != known_.end()) return known->second;
    const auto recipe = context_.store.contents().recipe(content, size);
    // A recipe that cannot be read loses the file as well.
    const bool lost =
        !recipe || std::ranges::any_of(recipe->entries, [&](const auto& entry) { return is_lost(entry.id); });
    known_.emplace(content, lost);
    return lost;
  }

  CommandContext& context_;
  const ChunkSet& damaged_;
  const bool complete_;
  std::vector<std::string> records_;
  std::unordered_map<cas::ContentId, bool, cas::HashOfHash> known_;
};

struct Findings {
  cas::ContentStore::CheckReport contents;
  std::vector<std::string> damage;
  std::vector<LostFile> lost;
  ChunkSet damaged;
};

void print(const Findings& findings, const std::optional<cas::ContentStore::RepairReport>& repaired,
           CommandContext& context) {
  const auto& contents = findings.contents;
  if (context.global.json) {
    Json out{{"schema", 1},
             {"sound", findings.damage.empty()},
             {"segments", contents.segments},
             {"frames", contents.frames},
             {"chunks", contents.chunks},
             {"bytes", contents.bytes},
             {"damage", Json::array()},
             {"files", Json::array()}};
    for (const std::string& line : findings.damage) out["damage"].push_back(text::escape(line));
    for (const LostFile& file : findings.lost) {
      Json entry{{"image", file.image}};
      put_name(entry, "path", file.path);
      out["files"].push_back(std::move(entry));
    }
    if (repaired) out["repaired"] = {{"restored_chunks", repaired->restored}, {"lost_chunks", repaired->lost}};
    context.io.out(dump(out));
    return;
  }
  if (repaired) {
    context.io.out(fmt::format("repair: {} damaged chunks restored from other copies, {} lost{}\n", repaired->restored,
                               repaired->lost,
                               repaired->lost == 0 ? "" : "; to restore them, import their sources again now"));
  }
  for (const std::string& line : findings.damage) context.io.out("damage: " + text::escape(line) + "\n");
  for (const LostFile& file : findings.lost)
    context.io.out(fmt::format("lost:   {} {}\n", file.image, text::escape(file.path)));
  if (context.global.quiet) return;
  context.io.out(fmt::format("{} segments, {} frames, {} chunks, {}: {}\n", contents.segments, contents.frames,
                             contents.chunks, text::format_bytes(contents.bytes),
                             findings.damage.empty() ? "sound"
                                                     : fmt::format("{} places damaged, {} files lost",
                                                                   findings.damage.size(), findings.lost.size())));
}

/// Looks at everything. Errors: what kept it from doing so.
Result<Findings> check(bool deep, CommandContext& context) {
  CommandIo& io = context.io;
  const auto progress = [&](std::uint64_t done, std::uint64_t total) {
    io.progress({.phase = "fsck", .done = done, .total = total});
    return !io.cancelled();
  };
  Findings findings;
  if (deep) {
    if (auto verified = context.store.database().verify(); !verified)
      findings.damage.push_back("database: " + to_string(verified.error()));
  }
  auto report = context.store.contents().check(deep, progress);
  if (io.cancelled()) return fail(Errc::cancelled, "stopped on request");
  if (!report) {
    findings.damage.push_back(to_string(report.error()));
  } else {
    for (const auto& damage : report->damage) {
      findings.damage.push_back(damage.what);
      findings.damaged.insert(damage.chunks.begin(), damage.chunks.end());
    }
    findings.contents = std::move(*report);
  }
  // Records of files are read in any case: an image whose names cannot be walked is damaged, whatever its chunks say.
  DamageMap map{context, findings.damaged, report.has_value()};
  auto lost = map.files();
  if (!lost) return fail(lost.error());
  findings.lost = std::move(*lost);
  findings.damage.insert(findings.damage.end(), map.damaged_records().begin(), map.damaged_records().end());
  if (io.cancelled()) return fail(Errc::cancelled, "stopped on request");
  if (!findings.lost.empty() && findings.damage.empty())
    findings.damage.emplace_back("records of files that cannot be followed to their contents");
  return findings;
}

Result<cas::ContentStore::RepairReport> repair(const ChunkSet& damaged, CommandContext& context) {
  Salvage salvage{context.store, damaged};
  if (auto looked = salvage.look(); !looked) return fail(looked.error());
  const std::vector<cas::ChunkId> chunks{damaged.begin(), damaged.end()};
  return context.store.contents().repair(
      chunks, [&](const cas::ChunkId& chunk) { return salvage.find(chunk); },
      [&](std::uint64_t done, std::uint64_t total) {
        context.io.progress({.phase = "repair", .done = done, .total = total});
        return !context.io.cancelled();
      });
}

}  // namespace

int run(const cli::FsckOptions& options, CommandContext& context) {
  const auto could_not = [&](const Error& error) {
    if (error.code != Errc::cancelled) context.io.complain(error);
    return kCouldNotCheck;
  };
  const bool deep = options.deep || options.repair;  // what is to be repaired must be known
  auto findings = check(deep, context);
  if (!findings) return could_not(findings.error());
  std::optional<cas::ContentStore::RepairReport> repaired;
  if (options.repair && !findings->damaged.empty()) {
    const auto done = repair(findings->damaged, context);
    if (!done) return could_not(done.error());
    repaired = *done;
    findings = check(deep, context);
    if (!findings) return could_not(findings.error());
  }
  print(*findings, repaired, context);
  if (!findings->damage.empty()) return kDamaged;
  return repaired ? kRepaired : kSound;
}

}  // namespace stellarium::server
