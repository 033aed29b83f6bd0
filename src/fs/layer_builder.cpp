#include "fs/layer_builder.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <memory>

#include "fs/layer_object.h"
#include "fs/layer_tables.h"
#include "fs/path_key.h"
#include "fs/records.h"
#include "fs/shared_loop.h"
#include "fs/tree_assembly.h"

namespace stellarium::fs {
namespace {

// Sorted xattrs within their limits, or why they are not.
Result<Xattrs> checked(const Xattrs& xattrs) {
  Xattrs sorted = xattrs;
  std::ranges::sort(sorted);
  std::size_t total = 0;
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    const auto& [name, value] = sorted[i];
    if (!valid_xattr_name(name)) return fail(Errc::invalid_argument, "an extended attribute with an impossible name");
    if (i > 0 && name == sorted[i - 1].first)
      return fail(Errc::invalid_argument, "extended attribute " + name + " is given twice");
    if (value.size() > kMaxXattrValue)
      return fail(Errc::invalid_argument, "extended attribute " + name + " is over 64 KiB");
    total += name.size() + value.size();
  }
  if (total > layer_object::kMaxXattrBytes) return fail(Errc::invalid_argument, "over 1 MiB of extended attributes");
  return sorted;
}

/// Puts entries into the tables a batch at a time, on another thread and, at the end, on this one, too: compressing
/// tables is most of the work of a layer.
class TableFeed {
 public:
  explicit TableFeed(LayerTables& tables) : tables_{tables} {}

  Result<void> add(LayerEntry entry) {
    bytes_ += sizeof entry + entry.name.size() + entry.inode.inline_bytes.size();
    for (const auto& [name, value] : entry.xattrs) bytes_ += name.size() + value.size();
    gathered_.push_back(std::move(entry));
    return bytes_ < kBatchBytes ? Result<void>{} : hand_over(/*last=*/false);
  }
  /// Everything added is in the tables, and they are whole.
  Result<void> finish() {
    if (auto handed = hand_over(/*last=*/true); !handed) return handed;
    return wait();
  }

 private:
  static constexpr std::size_t kBatchBytes = 512u << 10;

  Result<void> hand_over(bool last) {
    if (auto written = wait(); !written) return written;
    std::swap(gathered_, being_written_);
    gathered_.clear();
    bytes_ = 0;
    writing_.start(LayerTables::kParts, [this, last](std::size_t part) {
      written_[part] = write(static_cast<LayerTables::Part>(part), last);
    });
    return {};
  }
  Result<void> write(LayerTables::Part part, bool last) {
    for (const LayerEntry& entry : being_written_) {
      if (auto added = tables_.add(part, entry); !added) return added;
    }
    return last ? tables_.finish(part) : Result<void>{};
  }
  Result<void> wait() {
    writing_.finish();
    for (const Result<void>& part : written_) {
      if (!part) return part;
    }
    return {};
  }

  LayerTables& tables_;
  std::vector<LayerEntry> gathered_, being_written_;
  std::size_t bytes_ = 0;                                  // of gathered_
  std::array<Result<void>, LayerTables::kParts> written_;  // of being_written_
  SharedLoop writing_;
};

}  // namespace

LayerBuilder::LayerBuilder(std::filesystem::path scratch, const Options& options)
    : scratch_{std::move(scratch)}, sorter_{scratch_, options.sort_memory}, tree_{scratch_} {}

Result<std::string> checked_attributes(const Inode& inode, const Xattrs& xattrs) {
  Result<Xattrs> sorted = xattrs.empty() ? Xattrs{} : checked(xattrs);
  if (!sorted) return fail(sorted.error());
  Inode complete = inode;
  complete.nlink = 1;
  complete.parent = S_ISDIR(inode.mode) ? kRootIno : 0;
  if (const char* why = why_invalid(complete)) return fail(Errc::invalid_argument, std::string{"it has "} + why);
  return encode_attributes(complete, *sorted);
}

Result<void> LayerBuilder::add(std::string_view path, const Inode& inode, const Xattrs& xattrs) {
  const Result<std::string> attributes = checked_attributes(inode, xattrs);
  if (!attributes) return fail(attributes.error());
  const std::string key = key_of(path);
  if (Result<void> added = add_parents(key); !added) return added;
  return sorter_.add(key, TreeAssembly::encode_member(MemberKind::inode, ++members_, *attributes));
}

Result<void> LayerBuilder::add_link(std::string_view path, std::string_view target) {
  const std::string key = key_of(path);
  const std::uint64_t number = ++members_;
  if (Result<void> added = add_parents(key); !added) return added;
  // A link to itself (GNU tar writes one if a file is named twice) changes nothing, but there must be something.
  if (path != target) {
    if (Result<void> added = sorter_.add(key, TreeAssembly::encode_member(MemberKind::link, number, target)); !added)
      return added;
  }
  return sorter_.add(path_key(target), TreeAssembly::encode_member(MemberKind::reference, number, path));
}

std::string LayerBuilder::key_of(std::string_view path) {
  if (path.empty()) return path_key(path);
  const std::size_t slash = path.rfind('/');
  const std::string_view folder = slash == std::string_view::npos ? std::string_view{} : path.substr(0, slash);
  if (folder != last_folder_ || last_folder_key_.empty()) {
    last_folder_ = folder;
    last_folder_key_ = path_key(folder);
  }
  return key_below(last_folder_key_, path.substr(slash + 1));
}

// Says for every directory above `key` that it must be one. Members mostly come directory by directory, so remembering
// the last one saves nearly all.
Result<void> LayerBuilder::add_parents(std::string_view key) {
  if (is_root_key(key)) return {};
  std::string parent = parent_of_key(key);
  if (parent == last_parent_) return {};
  std::string above = parent;
  while (true) {
    if (Result<void> added = sorter_.add(above, TreeAssembly::encode_member(MemberKind::made_parent, 0, {})); !added)
      return added;
    if (is_root_key(above)) break;
    above = parent_of_key(above);
    // Everything above a directory that was just walked is known already.
    if (above.size() <= last_parent_.size() && last_parent_.compare(2, above.size() - 2, above, 2) == 0) break;
  }
  last_parent_ = std::move(parent);
  return {};
}

Result<cas::Hash> LayerBuilder::assemble() {
  const std::string root = path_key("");
  if (Result<void> added = sorter_.add(root, TreeAssembly::encode_member(MemberKind::made_parent, 0, {})); !added)
    return fail(added.error());
  if (Result<void> taken = tree_.take(sorter_); !taken) return fail(taken.error());
  if (Result<void> resolved = tree_.resolve_links(); !resolved) return fail(resolved.error());
  return tree_.fingerprint();
}

Result<LayerBuilder::Sealed> LayerBuilder::seal(cas::Database& database, LayerId layer, cas::WriteSession& session) {
  LayerTables tables{database, layer, scratch_};
  TableFeed feed{tables};
  const std::unique_ptr<cas::ContentWriter> content = session.begin(cas::Placement::metadata);
  LayerObjectWriter object{*content, tree_.names(), tree_.inodes()};
  while (true) {
    Result<std::optional<LayerEntry>> entry = tree_.next();
    if (!entry) return fail(entry.error());
    if (!*entry) break;
    if (Result<void> added = object.add(**entry); !added) return fail(added.error());
    if (Result<void> added = feed.add(**std::move(entry)); !added) return fail(added.error());
  }
  if (Result<void> flushed = object.flush(); !flushed) return fail(flushed.error());
  const Result<cas::ContentId> manifest = content->finish();
  if (!manifest) return fail(manifest.error());
  if (Result<void> fed = feed.finish(); !fed) return fail(fed.error());
  if (Result<void> ingested = tables.ingest(); !ingested) return fail(ingested.error());
  return Sealed{*manifest, object.size(), tables.inodes(), tables.bytes()};
}

}  // namespace stellarium::fs
