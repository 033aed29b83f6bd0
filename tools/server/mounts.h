#pragma once
#include <condition_variable>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "fs/fuse/fuse_server.h"
#include "tools/keeper/link.h"
#include "tools/server/janitor.h"
#include "tools/server/outside.h"
#include "tools/server/store.h"

namespace stellarium::server {

/// The mounts of the store: with the keeper (so that they outlive this process), with the FUSE server, and pinned in
/// the catalog.
///
/// Threads: all functions may be called concurrently; `detached` comes from a worker of the FUSE server.
class Mounts {
 public:
  Mounts(Store& store, keeper::KeeperLink& keeper, Janitor& janitor, const Outside& outside);
  ~Mounts();

  /// Takes over what an earlier server left. A record that cannot be taken over is let go (its mount then fails with
  /// ENOTCONN) and logged.
  void resume(std::vector<keeper::Record>&& records);
  /// Serves a session that was just mounted on `mountpoint`. Returns when the mount is ready.
  [[nodiscard]] Result<void> add(fs::fuse::ViewSpec view, const std::string& mountpoint, UniqueFd device)
      EXCLUDES(mutex_);
  /// What a virtual machine is shown. It counts as mounted, on its `socket`, until the session ends. What must outlive
  /// this server is in `table`: whoever has it can have the next one go on. `view` passes nothing through.
  [[nodiscard]] Result<std::shared_ptr<fs::fuse::Session>> open_session(fs::fuse::ViewSpec view,
                                                                        const std::string& socket,
                                                                        const UniqueFd& table,
                                                                        std::shared_ptr<fs::fuse::DaxWindow> window)
      EXCLUDES(mutex_);
  enum class Which : std::uint8_t { all, folders };  ///< folders: without those of virtual machines
  std::vector<fs::fuse::FuseServer::MountSpec> list(Which which = Which::all) const EXCLUDES(mutex_);
  /// Errors: busy, if the clone is mounted, saying where. After an umount(2) it waits until its last requests are
  /// answered, at most two seconds.
  [[nodiscard]] Result<void> check_unmounted(const std::string& clone) const EXCLUDES(mutex_);
  [[nodiscard]] Result<void> check_unmounted(const std::vector<std::string>& clones) const EXCLUDES(mutex_);

 private:
  struct Mount {
    fs::fuse::FuseServer::MountSpec spec;
    std::shared_ptr<fs::Catalog::LayerPin> pin;  ///< of an image's layer
    bool kept = true;                            ///< by the keeper
  };
  Result<void> resume_one(const keeper::Record& record);
  [[nodiscard]] Result<void> remember(const fs::fuse::FuseServer::MountSpec& spec, bool kept) EXCLUDES(mutex_);
  Result<void> check_unmounted_locked(const std::string& clone) const REQUIRES(mutex_);
  std::string mountpoint_of(const std::string& clone) const EXCLUDES(mutex_);  ///< empty: it is not mounted
  enum class Listed : std::uint8_t { no, here, with_keeper };
  Listed unlist(std::uint64_t id) EXCLUDES(mutex_);  ///< where it was listed
  void forget(std::uint64_t id) EXCLUDES(mutex_);

  Store& store_;
  keeper::KeeperLink& keeper_;
  Janitor& janitor_;  ///< woken when a mount no longer keeps its layer
  const Outside& outside_;
  mutable Mutex mutex_;
  mutable std::condition_variable ended_;  // a mount
  std::map<std::uint64_t, Mount> mounts_ GUARDED_BY(mutex_);
};

/// What the keeper keeps beside a mount's descriptors.
std::string encode_mount(const fs::fuse::FuseServer::MountSpec& spec);
Result<fs::fuse::FuseServer::MountSpec> decode_mount(std::string_view blob);

}  // namespace stellarium::server
