#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cas/database.h"
#include "fs/catalog.h"
#include "fs/quota_records.h"
#include "fs/types.h"

namespace stellarium::fs {

/// A writable tree over an image or a snapshot [DeltaVol].
struct Clone {
  std::string name;
  TreeId tree = 0;              ///< of its node ids, for as long as the clone lives
  std::vector<LayerId> layers;  ///< the writable one first, the image last
  Timespec created;
  std::string origin;  ///< what it was cloned from, as it was typed
};

/// What a clone was at some time: a tree that changes no more.
struct Snapshot {
  std::string clone, name;
  TreeId tree = 0;
  std::vector<LayerId> layers;  ///< the uppermost first
  Timespec created;
};

/// Clones and their snapshots. Making one is one small synced batch, whatever the size of the tree; removing one is,
/// too: what only it needed goes at the next Catalog::sweep.
///
/// Threads: all functions may be called concurrently. That a clone is not attached while it is removed or rolled back
///          is the caller's to see to.
/// Errors:  not_found and exists name the clone; invalid_argument for impossible names.
class Clones {
 public:
  /// Borrows both.
  Clones(cas::Database& database, Catalog& catalog) : database_{database}, catalog_{catalog} {}

  /// Names are 1 to 128 bytes of [A-Za-z0-9._-], not starting with '.' or '-', as those of images; no image may have
  /// the name. `layers`: what the clone begins as, an image or a snapshot.
  [[nodiscard]] Result<Clone> create(const std::string& name, const std::vector<LayerId>& layers, std::string origin);
  /// Several of the same, all or none, in one batch; in the order of the names, as are `quotas`, if there are any.
  [[nodiscard]] Result<std::vector<Clone>> create_all(const std::vector<std::string>& names,
                                                      const std::vector<LayerId>& layers, std::string origin,
                                                      const std::vector<QuotaRecord>& quotas = {});
  [[nodiscard]] Result<Clone> find(const std::string& name) const;
  [[nodiscard]] Result<std::vector<Clone>> list() const;  ///< by name
  [[nodiscard]] Result<void> rename(const std::string& from, const std::string& to);
  [[nodiscard]] Result<void> remove(const std::string& name);  ///< with its snapshots
  /// Several clones, with their snapshots, or single snapshots ("CLONE@NAME"), all or none; for Catalog::remove_all.
  [[nodiscard]] Result<void> put_removal(cas::Database::Batch& batch, const std::vector<std::string>& names) const;

  /// What of a snapshot (snapshots.h) are records of names and layers: the written one is frozen under the name, and a
  /// new one put over it, whose numbers are `layer` and `tree`. Inode numbers from `next_ino` on are free, or those
  /// from where the frozen layer's record says so. Errors: exists, out_of_space (256 layers over one another).
  struct NewTop {
    LayerId layer = 0;
    TreeId tree = 0;
    std::optional<Ino> next_ino = {};
  };
  [[nodiscard]] Result<void> put_snapshot(cas::Database::Batch& batch, const std::string& clone,
                                          const std::string& name, const NewTop& top) const;
  /// Whether a snapshot of this name can be made: invalid_argument, not_found, exists.
  [[nodiscard]] Result<void> check_snapshot(const std::string& clone, const std::string& name) const;
  [[nodiscard]] Result<Snapshot> find_snapshot(const std::string& clone, const std::string& name) const;
  [[nodiscard]] Result<std::vector<Snapshot>> snapshots(const std::string& clone) const;  ///< by name
  [[nodiscard]] Result<void> remove_snapshot(const std::string& clone, const std::string& name);
  /// Puts a new, empty writable layer over the snapshot; what was written since is dropped.
  [[nodiscard]] Result<Clone> rollback(const std::string& clone, const std::string& name);

 private:
  [[nodiscard]] Result<void> check_new_name(const std::string& name) const;  ///< no clone or image has it
  [[nodiscard]] Result<void> put_snapshot_removal(cas::Database::Batch& batch, const std::string& clone,
                                                  const std::string& name) const;
  cas::Database& database_;
  Catalog& catalog_;
};

/// The layers from `top` down to an image, uppermost first. Errors: corrupt (a parent is missing, or over 256 of them).
Result<std::vector<LayerId>> layer_chain(const cas::Database& database, LayerId top);
/// The uppermost layer of every clone and snapshot.
Result<std::vector<LayerId>> clone_layers(const cas::Database& database);
/// The layers of a clone and its snapshots that are no image's, ascending; of all clones if there is no name. Some of
/// the one may be other clones', too.
Result<std::vector<LayerId>> written_layers(const cas::Database& database,
                                            const std::optional<std::string>& name = std::nullopt);
/// Whether there is a clone of this name.
Result<bool> is_clone(const cas::Database& database, std::string_view name);

}  // namespace stellarium::fs
