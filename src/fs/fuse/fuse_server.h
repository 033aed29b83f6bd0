#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "cas/content_store.h"
#include "cas/database.h"
#include "fs/catalog.h"
#include "fs/fuse/dax_window.h"
#include "fs/fuse/session.h"
#include "fs/headroom.h"
#include "fs/open_clones.h"
#include "fs/project_quotas.h"
#include "fs/staging.h"
#include "fs/volumes.h"
#include "tier/tier.h"

namespace stellarium::fs::fuse {

/// What a mount shows, and how.
struct ViewSpec {
  enum class Kind : std::uint8_t {
    image,  ///< a sealed layer
    store,  ///< all images, and the volumes
    clone,  ///< a writable layer and those below
  } kind = Kind::image;
  ImageName image = {};  ///< kind image: what was asked for, for people
  LayerId layer = 0;     ///< kinds image and clone: what is shown, whatever happens to the name later
  TreeId tree = 0;
  std::string clone = {};      ///< kind clone: its name, for people
  bool passthrough = true;     ///< false: every read goes through us and the page cache, as on kernels without it
  bool read_only = false;      ///< of a guest: a clone that it cannot change; not encoded, no keeper knows guests
  std::string encode() const;  ///< kept by the keeper beside the descriptor
  static Result<ViewSpec> decode(std::string_view text);
};

/// Serves any number of /dev/fuse sessions with one pool of workers.
///
/// The descriptors belong to the keeper; this process has duplicates. Everything that must outlive the process is in
/// the memfd tables (handle_table.h) or can be computed from node ids. Threads: all functions may be called
/// concurrently.
class FuseServer {
 public:
  struct Options {
    unsigned workers = 0;     ///< 0: one per CPU, at least 2; more only cost wake-ups, since no worker ever waits
    bool passthrough = true;  ///< false: cached reads everywhere, as on kernels without it
  };
  /// The reader of images and contents that all views share; borrowed for the server's lifetime.
  struct Backing {
    cas::Database& database;
    Catalog& catalog;
    cas::ContentStore& contents;  ///< recipes only: where the holes of sparse files are
    tier::Tier& tier;
    Staging* staging = nullptr;                ///< of what clones write; without it no clone can be mounted
    OpenClones* clones = nullptr;              ///< told of mounted clones; may be missing
    std::filesystem::path host_dir = {};       ///< on the file system whose space clones use
    Volumes* volumes = nullptr;                ///< without it the whole store shows none
    Headroom* headroom = nullptr;              ///< of that file system; without it clones write as long as they can
    const ProjectQuotas* projects = nullptr;   ///< of that file system; null: it has none
    const HostProcesses* processes = nullptr;  ///< who makes requests; null: /proc says it
  };
  static Result<std::unique_ptr<FuseServer>> create(const Backing& backing, const Options& options);
  virtual ~FuseServer() = default;  ///< stops the workers; the mounts stay, unanswered, for the next server

  struct MountSpec {
    std::uint64_t id = 0;    ///< unique per store for ever; names the mount in tables and messages
    std::string mountpoint;  ///< as the user gave it, for listings only
    ViewSpec view;
  };
  /// Serves `device`. `table` is the mount's memfd. `resumed`: an earlier server answered INIT; ask the kernel to
  /// resend what it had not answered. Returns when the mount is ready (INIT answered).
  [[nodiscard]] virtual Result<void> attach(const MountSpec& mount, UniqueFd device, UniqueFd table, bool resumed) = 0;
  /// What another transport serves, to a guest: nothing is passed through, but may be mapped into its `window` if it
  /// has one. It counts as mounted until the session is gone, which must be before this server. `mount.mountpoint` says
  /// for listings where it can be found. `table`: as of a mount; one that an earlier server has used says that the
  /// conversation goes on.
  [[nodiscard]] virtual Result<std::shared_ptr<Session>> open_session(const MountSpec& mount, UniqueFd table,
                                                                      std::shared_ptr<DaxWindow> window) = 0;
  /// Makes the memfd for a new mount.
  static Result<UniqueFd> make_table();
  /// The id of the mount that has used a table; nothing if none has. Errors: corrupt.
  static Result<std::optional<std::uint64_t>> mount_of(const UniqueFd& table);
  /// Called (on a worker) after a mount was unmounted by somebody. When this returns, an earlier hook does not run any
  /// more; a hook must not set another.
  virtual void set_on_detached(std::function<void(std::uint64_t mount_id)> hook) = 0;

  struct MountStats {
    MountSpec mount;
    std::uint64_t requests = 0, answered_bytes = 0, errors = 0, open_handles = 0, backing_ids = 0;
    std::vector<std::pair<std::string, std::uint64_t>> by_opcode;  ///< "LOOKUP" → count
    bool passthrough = false;
  };
  virtual std::vector<MountStats> stats() const = 0;
};

}  // namespace stellarium::fs::fuse
