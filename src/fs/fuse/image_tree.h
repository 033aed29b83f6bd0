#pragma once
#include <memory>

#include "fs/catalog.h"
#include "fs/fuse/node_id.h"
#include "fs/layer_reader.h"

namespace stellarium::fs::fuse {

/// One sealed layer as a mount shows it; keeps the layer's records alive.
struct ImageTree {
  TreeId tree;
  LayerReader reader;
  std::shared_ptr<Catalog::LayerPin> pin;
};

/// Finds the tree that a node id names.
/// Threads: `find` may be called concurrently; what it returns lives as long as the source.
class TreeSource {
 public:
  virtual ~TreeSource() = default;
  virtual const ImageTree* find(TreeId tree) = 0;  ///< null: no such tree (any more)
};

/// The source of a mount that shows one image.
class OneTree final : public TreeSource {
 public:
  explicit OneTree(ImageTree tree) : tree_{std::move(tree)} {}
  const ImageTree* find(TreeId tree) override { return tree == tree_.tree ? &tree_ : nullptr; }

 private:
  ImageTree tree_;
};

}  // namespace stellarium::fs::fuse
