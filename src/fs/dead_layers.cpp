#include "fs/dead_layers.h"

#include <algorithm>
#include <optional>
#include <span>
#include <string>

#include "fs/clones.h"
#include "fs/families.h"
#include "fs/layer_reader.h"
#include "fs/records.h"

namespace stellarium::fs {
namespace {

using Batch = cas::Database::Batch;
using Sync = cas::Database::Sync;

constexpr std::size_t kErasedAtOnce = 1024;   // records for each `go_on`
constexpr std::size_t kPointDeletes = 65536;  // of one family in one range of layers

/// Layers with consecutive numbers.
class DeadRange {
 public:
  DeadRange(cas::Database& database, std::span<const DeadLayer> layers, const std::function<bool()>& go_on)
      : database_{database}, layers_{layers}, go_on_{go_on} {}

  Result<void> erase(ErasedLayers& out);

 private:
  Result<bool> find_staged(std::vector<StagedId>& out);
  Result<bool> erase_records(const cas::Family& family);
  Result<bool> is_named_below(LayerId layer, Ino ino, StagedId staged);

  cas::Database& database_;
  const std::span<const DeadLayer> layers_;
  const std::function<bool()>& go_on_;
  const std::string first_ = layer_prefix(layers_.front().layer), end_ = prefix_end(layer_prefix(layers_.back().layer));
  std::optional<LayerReader> below_;  // of the layer that was asked for last
  LayerId asked_ = 0;
};

/// Who changes attributes of a frozen file copies its record: the file then belongs to the frozen layer.
Result<bool> DeadRange::is_named_below(LayerId layer, Ino ino, StagedId staged) {
  if (asked_ != layer) {
    const LayerId parent = layers_[layer - layers_.front().layer].parent;
    below_.reset();
    asked_ = layer;
    if (parent != 0) {
      auto chain = layer_chain(database_, parent);
      if (!chain) return fail(chain.error());
      below_.emplace(database_, std::move(*chain));
    }
  }
  if (!below_) return true;  // as far as anybody knows
  const auto inode = below_->inode(ino);
  if (!inode) return fail(inode.error());
  return *inode && (*inode)->body == Body::staged && (*inode)->staged == staged;
}

Result<bool> DeadRange::find_staged(std::vector<StagedId>& out) {
  const auto cursor = database_.scan(kInodeFamily, first_, end_);
  for (std::size_t seen = 1; cursor->valid(); cursor->next(), ++seen) {
    if (seen % kErasedAtOnce == 0 && !go_on_()) return false;
    const auto key = decode_inode_key(cursor->key());
    const auto inode = key ? decode_inode(cursor->value()) : fail(key.error());
    if (!inode || inode->body != Body::staged) continue;  // what cannot be read names nothing that can be found
    const auto below = is_named_below(key->layer, key->ino, inode->staged);
    if (!below) return fail(below.error());
    if (!*below) out.push_back(inode->staged);
  }
  if (auto walked = cursor->status(); !walked) return fail(walked.error());
  return true;
}

Result<bool> DeadRange::erase_records(const cas::Family& family) {
  std::string from = first_;  // what was erased before it would be walked over again
  for (std::size_t erased = 0; erased < kPointDeletes;) {
    Batch batch;
    {
      const auto cursor = database_.scan(family, from, end_);
      for (; cursor->valid() && batch.changes().size() < kErasedAtOnce; cursor->next())
        batch.erase(family, cursor->key());
      if (auto walked = cursor->status(); !walked) return fail(walked.error());
    }
    if (batch.empty()) return true;
    const std::size_t count = batch.changes().size();
    from = batch.changes().back().key;
    if (auto written = database_.write(std::move(batch), Sync::no); !written) return fail(written.error());
    if (count < kErasedAtOnce) return true;
    erased += count;
    if (!go_on_()) return false;
  }
  if (auto erased = database_.erase_range(family, first_, end_); !erased) return fail(erased.error());
  return true;
}

Result<void> DeadRange::erase(ErasedLayers& out) {
  const auto found = find_staged(out.staged);
  if (!found) return fail(found.error());
  bool complete = *found;
  for (const cas::Family* family : {&kDirentFamily, &kInodeFamily, &kXattrFamily}) {
    if (!complete) break;
    const auto erased = erase_records(*family);
    if (!erased) return fail(erased.error());
    complete = *erased;
  }
  out.complete = out.complete && complete;
  return {};
}

}  // namespace

Result<ErasedLayers> erase_dead_layers(cas::Database& database, const std::vector<DeadLayer>& layers,
                                       const std::function<bool()>& go_on) {
  ErasedLayers out;
  for (std::size_t at = 0; at < layers.size() && out.complete;) {
    std::size_t end = at + 1;
    while (end < layers.size() && layers[end].layer == layers[end - 1].layer + 1) ++end;
    auto erased = DeadRange{database, std::span{layers}.subspan(at, end - at), go_on}.erase(out);
    if (!erased) return fail(erased.error(), "removing " + layer_text(layers[at].layer));
    at = end;
  }
  return out;
}

}  // namespace stellarium::fs
