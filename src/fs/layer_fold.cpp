#include "fs/layer_fold.h"

#include <sys/stat.h>

#include <string_view>
#include <utility>

#include "fs/families.h"
#include "fs/records.h"
#include "fs/tree_change.h"

namespace stellarium::fs {
namespace {

using Batch = cas::Database::Batch;

constexpr std::size_t kRecord = 4, kAbsentName = 40, kLookUp = 3;  // microseconds
constexpr std::size_t kMaxPartBytes = 1u << 20;
constexpr std::size_t kMaxNamesAtOnce = 1024;  // of a directory that is gone

/// Keys of two layers differ in the number of the layer only.
std::string moved_key(LayerId layer, std::string_view key) {
  return layer_prefix(layer).append(key.substr(sizeof(LayerId)));
}

}  // namespace

LayerFold::LayerFold(const cas::Database& database, Layers layers)
    : database_{database},
      upper_{layers.upper},
      lower_{layers.lower},
      below_{database, std::move(layers.below)},
      from_{layer_prefix(upper_)} {}

Result<LayerFold::Part> LayerFold::next(std::size_t effort, bool keep_unlinked) {
  Part part;
  spent_ = 0;
  if (!names_done_) {
    const auto done = add_names(part, effort);
    if (!done) return fail(done.error(), "folding " + layer_text(upper_));
    names_done_ = *done;
    if (names_done_) from_ = layer_prefix(upper_);
  }
  if (names_done_) {
    const auto done = add_inodes(part, effort, keep_unlinked);
    if (!done) return fail(done.error(), "folding " + layer_text(upper_));
    part.last = *done;
  }
  return part;
}

Result<bool> LayerFold::add_names(Part& part, std::size_t effort) {
  const auto cursor = database_.scan(kDirentFamily, from_, prefix_end(layer_prefix(upper_)));
  for (; cursor->valid(); cursor->next()) {
    if (spent_ >= effort || part.batch.bytes() >= kMaxPartBytes) {
      from_ = cursor->key();
      return false;
    }
    const auto key = decode_dirent_key(cursor->key());
    if (!key) return fail(key.error());
    const auto entry = decode_dirent(cursor->value());
    if (!entry) return fail(entry.error());
    const std::string lower = moved_key(lower_, cursor->key());
    spent_ += kRecord;
    if (!entry->is_whiteout()) {
      part.batch.put(kDirentFamily, lower, cursor->value());
      continue;
    }
    spent_ += kAbsentName;
    const auto hidden = below_.lookup(key->parent, key->name);
    if (!hidden) return fail(hidden.error());
    if (*hidden) {
      part.batch.put(kDirentFamily, lower, cursor->value());
    } else {
      part.batch.erase(kDirentFamily, lower);
    }
  }
  if (auto walked = cursor->status(); !walked) return fail(walked.error());
  return true;
}

Result<bool> LayerFold::add_inodes(Part& part, std::size_t effort, bool keep_unlinked) {
  const auto cursor = database_.scan(kInodeFamily, from_, prefix_end(layer_prefix(upper_)));
  for (; cursor->valid(); cursor->next()) {
    from_ = cursor->key();
    if (spent_ >= effort || part.batch.bytes() >= kMaxPartBytes) return false;
    const auto key = decode_inode_key(cursor->key());
    if (!key) return fail(key.error());
    const auto inode = decode_inode(cursor->value());
    if (!inode) return fail(inode.error(), "inode " + std::to_string(key->ino));
    // Staged bytes without a name are what a crash left; the next mount of the clone knows what to do with them.
    const bool gone = is_forgotten(*inode) || (inode->nlink == 0 && !keep_unlinked && inode->body != Body::staged);
    spent_ += kRecord + kLookUp;
    const auto added = add_inode(part, key->ino, *inode, gone);
    if (!added) return fail(added.error());
    if (!*added) return false;
  }
  if (auto walked = cursor->status(); !walked) return fail(walked.error());
  return true;
}

/// False: more of it is to be done, with the next part.
Result<bool> LayerFold::add_inode(Part& part, Ino ino, const Inode& inode, bool gone) {
  const auto before = LayerReader{database_, lower_}.inode(ino);
  if (!before) return fail(before.error());
  if (gone && (S_ISDIR(inode.mode) || (*before && S_ISDIR((*before)->mode)))) {
    const auto erased = erase_names_of(part, ino);
    if (!erased) return fail(erased.error());
    if (!*erased) return false;
  }
  const bool replaces = *before && (*before)->body == Body::staged &&
                        (gone || inode.body != Body::staged || inode.staged != (*before)->staged);
  std::optional<Inode> hidden;
  if (gone || replaces) {
    auto found = below_.inode(ino);
    if (!found) return fail(found.error());
    hidden = std::move(*found);
    spent_ += kLookUp;
  }
  // A record that was copied to change attributes names the file of the layer that it was copied from.
  if (replaces && !(hidden && hidden->body == Body::staged && hidden->staged == (*before)->staged))
    part.replaced.push_back((*before)->staged);
  if (auto moved = add_xattrs(part, ino, *before && (*before)->has_xattrs, !gone && inode.has_xattrs); !moved)
    return fail(moved.error());
  const std::string key = inode_key(lower_, ino);
  if (!gone) {
    part.batch.put(kInodeFamily, key, encode_inode(inode));
  } else if (hidden && !is_forgotten(*hidden)) {
    part.batch.put(kInodeFamily, key, encode_inode(forgotten_inode()));
  } else {
    part.batch.erase(kInodeFamily, key);
  }
  return true;
}

Result<void> LayerFold::add_xattrs(Part& part, Ino ino, bool before, bool after) {
  const auto each = [&](LayerId layer, const auto& visit) -> Result<void> {
    const std::string prefix = xattr_key(layer, ino);
    const auto cursor = database_.scan(kXattrFamily, prefix, prefix_end(prefix));
    for (; cursor->valid(); cursor->next()) visit(cursor->key(), cursor->value());
    return cursor->status();
  };
  if (before) {
    spent_ += kAbsentName;
    auto erased = each(lower_, [&](std::string_view key, std::string_view) { part.batch.erase(kXattrFamily, key); });
    if (!erased) return erased;
  }
  if (!after) return {};
  spent_ += kAbsentName;
  return each(upper_, [&](std::string_view key, std::string_view value) {
    part.batch.put(kXattrFamily, moved_key(lower_, key), value);
  });
}

/// False: only some of them.
Result<bool> LayerFold::erase_names_of(Part& part, Ino directory) {
  const std::string prefix = dirent_prefix(lower_, directory);
  const auto cursor = database_.scan(kDirentFamily, prefix, prefix_end(prefix));
  std::size_t erased = 0;
  for (; cursor->valid() && erased < kMaxNamesAtOnce; cursor->next(), ++erased)
    part.batch.erase(kDirentFamily, cursor->key());
  if (auto walked = cursor->status(); !walked) return fail(walked.error());
  spent_ += kAbsentName + erased;
  return !cursor->valid();
}

}  // namespace stellarium::fs
