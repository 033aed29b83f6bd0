#pragma once
#include <memory>
#include <unordered_map>

#include "base/mutex.h"
#include "fs/fuse/image_tree.h"

namespace stellarium::fs::fuse {

/// The trees of a mount that shows the whole store. A tree that was shown once stays until the mount goes, even if its
/// name moves or is removed: programs may have it open. After a restart of the server, trees without a name are gone
/// (their nodes answer ESTALE).
/// Threads: all functions may be called concurrently.
class StoreTrees final : public TreeSource {
 public:
  StoreTrees(const cas::Database& database, Catalog& catalog) : database_{database}, catalog_{catalog} {}

  const ImageTree* find(TreeId tree) override;
  /// The tree that `name` stands for now. Errors: not_found.
  [[nodiscard]] Result<const ImageTree*> find(const ImageName& name);

 private:
  const cas::Database& database_;
  Catalog& catalog_;
  Mutex mutex_;
  std::unordered_map<TreeId, std::unique_ptr<const ImageTree>> trees_ GUARDED_BY(mutex_);
};

}  // namespace stellarium::fs::fuse
