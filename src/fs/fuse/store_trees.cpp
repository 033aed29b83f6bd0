#include "fs/fuse/store_trees.h"

#include <algorithm>

namespace stellarium::fs::fuse {

const ImageTree* StoreTrees::find(TreeId tree) {
  {
    const MutexLock lock{mutex_};
    if (const auto found = trees_.find(tree); found != trees_.end()) return found->second.get();
  }
  const Result<std::vector<Image>> images = catalog_.list();
  if (!images) return nullptr;
  const auto image = std::ranges::find(*images, tree, &Image::tree);
  if (image == images->end()) return nullptr;
  const Result<const ImageTree*> added = find(image->name);
  return added && (*added)->tree == tree ? *added : nullptr;
}

Result<const ImageTree*> StoreTrees::find(const ImageName& name) {
  Result<Image> image = catalog_.find(name);
  while (image) {
    {
      const MutexLock lock{mutex_};
      if (const auto found = trees_.find(image->tree); found != trees_.end()) return found->second.get();
    }
    auto tree = std::make_unique<const ImageTree>(
        ImageTree{image->tree, LayerReader{database_, image->layer}, catalog_.pin(image->layer)});
    // The layer may have lost its name, and its records, between the look-up and the pin.
    Result<Image> again = catalog_.find(name);
    if (again && again->layer == image->layer && again->tree == image->tree) {
      const MutexLock lock{mutex_};
      return trees_.try_emplace(image->tree, std::move(tree)).first->second.get();
    }
    image = std::move(again);
  }
  return fail(image.error());
}

}  // namespace stellarium::fs::fuse
