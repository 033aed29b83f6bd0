#include <algorithm>
#include <utility>

#include "fs/families.h"
#include "fs/records.h"
#include "fs/writable_tree.h"

// What snapshots, and removed ones, do to the tree that is written.
namespace stellarium::fs {
namespace {

/// Readers that began before it look again after it (WritableTree::look).
class Freezing {
 public:
  explicit Freezing(std::atomic<std::uint64_t>& count) : count_{count} { ++count_; }
  Freezing(const Freezing&) = delete;
  Freezing& operator=(const Freezing&) = delete;
  ~Freezing() {
    ++count_;
    count_.notify_all();
  }

 private:
  std::atomic<std::uint64_t>& count_;
};

}  // namespace

Result<std::vector<WritableTree::Entry>> WritableTree::orphans() {
  const MutexLock lock{mutex_};
  auto found = find_orphans();
  if (!found) return found;
  orphans_.emplace();
  for (const Entry& orphan : *found) orphans_->insert(orphan.ino);
  return found;
}

/// An inode without links belongs to whoever has it open, and to no snapshot: if it is written, its record moves up,
/// with the staged file. Others stay, where nobody finds them: gc may be looking through the frozen layer just now.
Result<void> WritableTree::take_orphans(const Layers& over, TreeChange& taken, cas::Database::Batch& left) {
  if (!orphans_) {
    const auto found = find_orphans();
    if (!found) return fail(found.error());
    orphans_.emplace();
    for (const Entry& orphan : *found) orphans_->insert(orphan.ino);
  }
  const LayerId layer = over.all.layer();
  for (const Ino ino : *orphans_) {
    const Result<TreeChange::Node*> node = taken.node(ino);
    if (!node) return fail(node.error());
    if ((*node)->inode.body != Body::staged || (*node)->layer != layer) continue;
    (*node)->changed = true;
    const Result<std::optional<Inode>> lower = over.below.inode(ino);
    if (!lower) return fail(lower.error());
    if (*lower) {
      left.put(kInodeFamily, inode_key(layer, ino), encode_inode(forgotten_inode()));
    } else {
      left.erase(kInodeFamily, inode_key(layer, ino));
    }
    const std::string prefix = xattr_key(layer, ino);
    const auto cursor = database_.scan(kXattrFamily, prefix, prefix_end(prefix));
    for (; cursor->valid(); cursor->next()) left.erase(kXattrFamily, cursor->key());
    if (const Result<void> status = cursor->status(); !status) return fail(status.error(), "moving an inode");
  }
  return {};
}

Result<void> WritableTree::freeze(LayerId next, const Copies& copies, const WriteFrozen& write) {
  const MutexLock lock{mutex_};
  const auto copied = copies();
  if (!copied) return fail(copied.error());

  const Layers& before = current();
  std::vector<LayerId> layers = before.all.layers();
  layers.insert(layers.begin(), next);
  Layers after{LayerReader{database_, std::move(layers)}, before.all};
  TreeChange taken{after.all, after.below};
  cas::Database::Batch left;
  for (const Entry& copy : *copied) {
    const Result<TreeChange::Node*> node = taken.node(copy.ino);
    if (!node) return fail(node.error());
    (*node)->changed = true;
    left.put(kInodeFamily, inode_key(before.all.layer(), copy.ino), encode_inode(copy.inode));
  }
  if (Result<void> moved = take_orphans(before, taken, left); !moved) return moved;
  Result<cas::Database::Batch> batch = taken.finish();
  if (!batch) return fail(batch.error());
  for (const auto& change : left.changes()) {
    if (change.erased) {
      batch->erase(*change.family, change.key);
    } else {
      batch->put(*change.family, change.key, change.value);
    }
  }
  const Freezing freezing{freezes_};
  const RecordCache::Hold hold{records_};
  const UnsyncedInodes::Hold unsynced{unsynced_};
  const AbsentNames::Change names{absent_};
  if (Result<void> written = write(std::move(*batch), next_ino_); !written) return written;
  reserved_ino_ = next_ino_;
  layers_.push_back(std::move(after));
  current_ = &layers_.back();
  return {};
}

Result<void> WritableTree::leave_out(LayerId layer, const std::function<Result<void>()>& write) {
  const MutexLock lock{mutex_};
  std::vector<LayerId> layers = current().all.layers();
  const auto found = std::find(layers.begin() + 1, layers.end(), layer);
  if (found == layers.end() || found + 1 == layers.end())
    return fail(Errc::invalid_argument, layer_text(layer) + " cannot be left out");
  layers.erase(found);
  Layers after{LayerReader{database_, layers}, LayerReader{database_, {layers.begin() + 1, layers.end()}}};
  const Freezing freezing{freezes_};
  const RecordCache::Hold hold{records_};
  const UnsyncedInodes::Hold unsynced{unsynced_};
  const AbsentNames::Change names{absent_};
  if (Result<void> written = write(); !written) return written;
  layers_.push_back(std::move(after));
  current_ = &layers_.back();
  return {};
}

}  // namespace stellarium::fs
