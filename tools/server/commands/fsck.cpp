#include <fmt/format.h>

#include "tools/server/commands.h"
#include "tools/server/damage_map.h"
#include "tools/server/json.h"
#include "tools/server/repair.h"
#include "tools/server/salvage.h"
#include "tools/text/units.h"

// A store whose database cannot be opened is repaired elsewhere (repair.h).
namespace stellarium::server {
namespace {

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
  DamageMap map{context.store, findings.damaged, report.has_value()};
  auto lost = map.files([&] { return !io.cancelled(); });
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
