#pragma once
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/result.h"
#include "cas/database.h"
#include "fs/types.h"

namespace stellarium::fs {

/// Who needs which layer: how many names lead to it and how many layers lie on it. So removing one clone costs the same
/// whether there are ten or a million others: nobody has to walk them to learn that a layer lost its last use.
///
/// Memory:  nothing for a clone's own layer (one name, nothing on it), 60 bytes for every other one.
/// Threads: none; the catalog's lock guards it.
class LayerUses {
 public:
  /// What all records say. One walk over the families of layers and names.
  static Result<LayerUses> count(const cas::Database& database);

  /// What a batch that is about to be written changes; `apply` once it was. Cost: a look-up for each record of a layer
  /// or name in it. Errors: corrupt, io.
  struct Change {
    enum class Kind : std::uint8_t { made, erased, named, unnamed, covered, uncovered };
    Kind kind;
    LayerId layer = 0;
    LayerId child = 0;  ///< covered, uncovered: the layer on it
  };
  static Result<std::vector<Change>> changes_of(const cas::Database& database, const cas::Database::Batch& batch);
  void apply(const std::vector<Change>& changes);

  /// Whether a name leads to the layer itself.
  bool has_name(LayerId layer) const { return of(layer).names != 0; }
  /// Layers without a name and with nothing on them, ascending.
  const std::set<LayerId>& unused() const { return unused_; }
  /// The only layer on one that has no name; nothing if it has a name, or not exactly one layer on it.
  std::optional<LayerId> only_child(LayerId layer) const;
  /// Layers that `only_child` has an answer for since the last call.
  std::vector<LayerId> take_thinned() { return std::exchange(thinned_, {}); }

 private:
  struct Uses {
    std::uint32_t names = 0, children = 0;
    LayerId child = 0;  // all of them, by exclusive or: of one it is the number
    bool operator==(const Uses&) const = default;
  };
  static constexpr Uses kClones{.names = 1, .children = 0, .child = 0};
  Uses of(LayerId layer) const;
  void set(LayerId layer, const Uses& uses);

  std::unordered_map<LayerId, Uses> others_;  // than kClones
  std::set<LayerId> unused_;
  std::vector<LayerId> thinned_;
};

/// Every layer that a name leads to, and those below it.
Result<std::set<LayerId>> named_layers(const cas::Database& database);

}  // namespace stellarium::fs
