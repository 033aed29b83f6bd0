#include "fs/open_clones.h"

#include <algorithm>
#include <utility>

namespace stellarium::fs {

std::shared_ptr<const void> OpenClones::add(Clone clone) {
  const MutexLock lock{mutex_};
  const auto added = clones_.insert(clones_.end(), std::move(clone));
  return {this, [this, added](const void*) { remove(added); }};
}

void OpenClones::remove(std::list<Clone>::iterator clone) {
  std::list<Clone> ended;  // its bodies' end waits for a sync, which no lock is held for
  const MutexLock lock{mutex_};
  ended.splice(ended.end(), clones_, clone);
}

Result<void> OpenClones::with(const std::vector<LayerId>& layers,
                              const std::function<Result<void>(std::span<const Clone>)>& work) {
  const MutexLock lock{mutex_};
  std::vector<Clone> found;
  for (const Clone& clone : clones_)
    if (std::ranges::binary_search(layers, clone.records->reader().layer())) found.push_back(clone);
  std::ranges::sort(found, {}, [](const Clone& clone) { return clone.records->reader().layer(); });
  return work(found);
}

Result<void> OpenClones::with_over(LayerId layer, const std::function<Result<void>(std::span<const Clone>)>& work) {
  const MutexLock lock{mutex_};
  std::vector<Clone> found;
  for (const Clone& clone : clones_) {
    const std::vector<LayerId>& layers = clone.records->reader().layers();
    if (std::find(layers.begin() + 1, layers.end(), layer) != layers.end()) found.push_back(clone);
  }
  return work(found);
}

}  // namespace stellarium::fs
