#include "fs/layer_object_copy.h"

#include <sys/stat.h>

#include <vector>

#include "fs/layer_object.h"
#include "fs/layer_reader.h"

namespace stellarium::fs {
namespace {

struct Directory {
  Ino ino;
  std::uint32_t children;
};

/// Hands out a layer's records in layer order: ascending inode numbers are breadth first (LayerEntry).
class LayerCopy {
 public:
  LayerCopy(const cas::Database& database, LayerId layer) : reader_{database, layer}, inodes_{reader_.scan_inodes()} {}

  Result<void> count();
  Result<void> write(cas::ContentWriter& out);

 private:
  Result<void> add(LayerObjectWriter& object, LayerEntry entry);

  LayerReader reader_;
  LayerReader::InodeScan inodes_;
  std::vector<Directory> directories_;
  std::uint64_t inode_count_ = 0, names_ = 1;  // the root's
  std::size_t next_directory_ = 0;
};

Result<void> LayerCopy::count() {
  auto scan = reader_.scan_inodes();
  while (true) {
    const auto found = scan.next();
    if (!found) return fail(found.error());
    if (!*found) return {};
    ++inode_count_;
    const auto& [ino, inode] = **found;
    if (!S_ISDIR(inode.mode)) continue;
    directories_.push_back({ino, 0});
    auto listing = reader_.list(ino, 0);
    while (true) {
      const auto entry = listing.next();
      if (!entry) return fail(entry.error());
      if (!*entry) break;
      ++directories_.back().children;
      ++names_;
    }
  }
}

Result<void> LayerCopy::add(LayerObjectWriter& object, LayerEntry entry) {
  if (entry.first) {
    auto inode = inodes_.at(entry.ino);
    if (!inode) return fail(inode.error());
    if (!*inode) return fail(Errc::corrupt, "inode " + std::to_string(entry.ino) + " has no record");
    entry.inode = std::move(**inode);
    if (entry.inode.has_xattrs) {
      auto xattrs = reader_.xattrs(entry.ino);
      if (!xattrs) return fail(xattrs.error());
      entry.xattrs = std::move(*xattrs);
    }
    if (next_directory_ < directories_.size() && directories_[next_directory_].ino == entry.ino)
      entry.children = directories_[next_directory_++].children;
  }
  return object.add(entry);
}

Result<void> LayerCopy::write(cas::ContentWriter& out) {
  LayerObjectWriter object{out, names_, inode_count_};
  LayerEntry root;
  root.ino = kRootIno;
  if (auto added = add(object, std::move(root)); !added) return added;
  Ino last = kRootIno;
  for (const Directory& directory : directories_) {
    auto listing = reader_.list(directory.ino, 0);
    while (true) {
      auto found = listing.next();
      if (!found) return fail(found.error());
      if (!*found) break;
      LayerEntry entry;
      entry.parent = directory.ino;
      entry.cookie = (*found)->cookie;
      entry.name = std::move((*found)->name);
      entry.ino = (*found)->ino;
      entry.first = entry.ino > last;
      if (entry.first) last = entry.ino;
      if (auto added = add(object, std::move(entry)); !added) return added;
    }
  }
  return object.flush();
}

}  // namespace

Result<void> write_layer_object(const cas::Database& database, LayerId layer, cas::ContentWriter& out) {
  LayerCopy copy{database, layer};
  if (auto counted = copy.count(); !counted) return counted;
  return copy.write(out);
}

}  // namespace stellarium::fs
