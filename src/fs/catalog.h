#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/io.h"
#include "base/mutex.h"
#include "base/result.h"
#include "cas/content_store.h"
#include "cas/database.h"
#include "fs/image_name.h"
#include "fs/types.h"

namespace stellarium::fs {

/// A name for a sealed layer, as listings show it.
struct Image {
  ImageName name;
  LayerId layer = 0;
  TreeId tree = 0;          ///< of its node ids; persisted, never reused for another name or layer
  cas::ContentId manifest;  ///< content id of the layer object: equal for equal trees, on every host
  std::uint64_t manifest_size = 0;
  std::uint64_t files = 0, bytes = 0;  ///< inodes, and content bytes as `du --apparent-size` counts them
  Timespec created;
  std::string source;  ///< what it was imported from, for `history`; empty when unknown
};

/// Names → sealed layers. Every change is one small synced batch, and a line in the names journal, which outlives the
/// database.
///
/// Threads: all functions may be called concurrently.
class Catalog {
 public:
  /// `journal` is the file of docs/formats/names-journal.md, made if missing.
  static Result<std::unique_ptr<Catalog>> open(cas::Database& database, Io& io, const std::filesystem::path& journal);
  virtual ~Catalog() = default;

  /// Keeps a layer's records while a mount, an export or a listing uses it, whatever happens to its name.
  class LayerPin {
   public:
    virtual ~LayerPin() = default;
  };
  virtual std::shared_ptr<LayerPin> pin(LayerId layer) = 0;

  /// Numbers for a layer that is being built. Unless it is published its records go when the pin is gone, at the next
  /// `sweep` or open.
  struct NewLayer {
    LayerId layer = 0;
    TreeId tree = 0;
    std::shared_ptr<LayerPin> pin;
  };
  [[nodiscard]] virtual Result<NewLayer> begin_layer() = 0;
  /// Numbers for a layer of a clone, in the same synced batch as what `put` adds to it. Clones and names change one at
  /// a time; an error of `put` changes nothing.
  using PutLayer = std::function<Result<void>(cas::Database::Batch&, LayerId, TreeId)>;
  [[nodiscard]] virtual Result<NewLayer> add_layer(const PutLayer& put) = 0;
  /// The same for `count` of them, all or none.
  [[nodiscard]] virtual Result<std::vector<NewLayer>> add_layers(std::size_t count, const PutLayer& put) = 0;
  /// The same for one that goes over a layer in use: `make` calls `write` once, which does not sync, while what it
  /// locks is locked.
  using WriteLayer = std::function<Result<void>(cas::Database::Batch&&)>;
  using MakeLayer = std::function<Result<void>(LayerId, TreeId, const WriteLayer& write)>;
  [[nodiscard]] virtual Result<NewLayer> extend_layer(const MakeLayer& make) = 0;
  /// The same as add_layer for changes that need no new layer.
  using ChangeClones = std::function<Result<void>(cas::Database::Batch&)>;
  [[nodiscard]] virtual Result<void> change_clones(const ChangeClones& change) = 0;
  /// Calls `work` while no layer is made, frozen, rolled back or swept away. `work` calls nothing of the catalog.
  [[nodiscard]] virtual Result<void> while_layers_stay(const std::function<Result<void>()>& work) = 0;
  /// Makes the layer visible under `image.name`: one that was being built, whose tree has the fingerprint (zeros:
  /// nobody knows); or one that `find_sealed` told, which then has one more name, with a tree number of its own. A
  /// taken name moves to the layer (the old one stays until gc). Durable on return.
  [[nodiscard]] virtual Result<void> publish(const Image& image, const cas::Hash& fingerprint) = 0;
  struct SealedLayer {
    Image image;  ///< without a name and a tree number
    std::shared_ptr<LayerPin> pin;
  };
  /// A sealed layer with this fingerprint that has a name now.
  [[nodiscard]] virtual Result<std::optional<SealedLayer>> find_sealed(const cas::Hash& fingerprint) = 0;

  [[nodiscard]] virtual Result<Image> find(const ImageName& name) const = 0;  ///< not_found names the image
  [[nodiscard]] virtual Result<std::vector<Image>> list() const = 0;          ///< by name and tag
  [[nodiscard]] virtual Result<void> rename(const ImageName& from, const ImageName& to) = 0;   ///< exists, not_found
  [[nodiscard]] Result<void> remove(const ImageName& name) { return remove_all({name}, {}); }  ///< see `sweep`
  /// Several names, and what `also` changes (if it is anything): all or nothing, in one batch.
  [[nodiscard]] virtual Result<void> remove_all(const std::vector<ImageName>& names, const ChangeClones& also) = 0;
  struct Event {
    Timespec when;
    std::string what;  ///< "import", "rename", "remove"
    ImageName name;
    cas::ContentId manifest;
    std::string detail;
  };
  [[nodiscard]] virtual Result<std::vector<Event>> history(const ImageName& name) const = 0;

  /// How a sweep goes about its work.
  struct Sweeping {
    /// Asked after at most 1,024 records; may sleep; false ends the sweep. Empty: go on.
    std::function<bool()> go_on = {};
    /// Takes staged files that no durable record names any more. Empty: they stay for the sweep of the next start
    /// (staged_sweep.h).
    std::function<void(std::vector<StagedId>)> drop = {};
  };
  /// Removes the records of layers that have neither a name nor a pin; returns how many layers that were. Names may
  /// change meanwhile: what was found to be dead is out of everybody's reach. Cost: that of what is removed, whatever
  /// else there is.
  [[nodiscard]] virtual Result<std::uint64_t> sweep(const Sweeping& how) = 0;
  [[nodiscard]] Result<std::uint64_t> sweep() { return sweep(Sweeping{}); }

  /// Two layers of which the upper one can be folded into the lower one (layer_folding.h): frozen, without names, and
  /// with one layer on each.
  struct Fold {
    LayerId upper = 0, lower = 0;
    LayerId above = 0;  ///< what lies on the upper one
    bool operator==(const Fold&) const = default;
  };
  virtual std::vector<LayerId> foldable() const = 0;  ///< the upper ones, ascending
  /// Calls `work`, as while_layers_stay does, if the layer can be folded still; `write` does not sync. False: it cannot
  /// be folded any more. Errors: busy (somebody reads the lower layer).
  using FoldLayers = std::function<Result<void>(const Fold&, const WriteLayer& write)>;
  [[nodiscard]] virtual Result<bool> fold(LayerId upper, const FoldLayers& work) = 0;
  /// What is left to be done in the background, in layers; those that are pinned or being built count as unused.
  struct Chores {
    std::size_t unused = 0, foldable = 0;
  };
  virtual Chores chores() const = 0;

  /// Every content that a named, pinned or unpublished layer needs, the layer objects, and the blocks of volumes: the
  /// roots of gc.
  virtual cas::ContentStore::LiveContents live_contents() const = 0;
};

}  // namespace stellarium::fs
