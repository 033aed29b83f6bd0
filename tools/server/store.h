#pragma once
#include <filesystem>
#include <memory>
#include <string>

#include "base/io.h"
#include "base/result.h"
#include "cas/content_store.h"
#include "cas/database.h"
#include "cdn/lazy_contents.h"
#include "fs/catalog.h"
#include "fs/clones.h"
#include "fs/fuse/fuse_server.h"
#include "fs/headroom.h"
#include "fs/layer_folding.h"
#include "fs/open_clones.h"
#include "fs/project_quotas.h"
#include "fs/settle.h"
#include "fs/snapshots.h"
#include "fs/staged_first.h"
#include "fs/staging.h"
#include "fs/volumes.h"
#include "tier/tier.h"
#include "tools/server/ballast.h"

namespace stellarium::server {

/// An open store: the parts of design's layers, wired together here and nowhere else.
///
/// STORE/{format,db/,segments/,hot/,staged/,names.journal,ballast,tmp/,run/}, all of mode 0700. Locked against a second
/// server while it is open. Threads: the parts say; `close` once, when nothing uses them any more.
class Store {
 public:
  /// Errors: version, busy (another server has it open), and what the parts report; corrupt if the database cannot be
  /// opened. `space`: what the ballast goes by. `processes`: who knows the host's, borrowed; null: /proc.
  static Result<std::unique_ptr<Store>> open(const std::filesystem::path& dir, Io& io, Ballast::AskSpace space = {},
                                             const fs::fuse::HostProcesses* processes = nullptr);
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  const std::filesystem::path& dir() const { return dir_; }
  std::filesystem::path scratch() const { return dir_ / "tmp"; }
  const std::string& uuid() const { return uuid_; }
  cas::Database& database() { return *database_; }
  cas::ContentStore& contents() { return *contents_; }
  fs::Catalog& catalog() { return *catalog_; }
  fs::Clones clones() { return fs::Clones{*database_, *catalog_}; }
  fs::Staging& staging() { return *staging_; }
  fs::Snapshots snapshots() { return fs::Snapshots{{*database_, *catalog_, *staging_, *open_clones_}}; }
  fs::LayerFolding layer_folding() { return fs::LayerFolding{{*database_, *catalog_, *staging_, *open_clones_}}; }
  fs::Volumes& volumes() { return *volumes_; }
  fs::Settler& settler() { return *settler_; }
  tier::Tier& tier() { return *tier_; }
  cdn::LazyContents& lazy() { return *lazy_; }
  fs::fuse::FuseServer& fuse() { return *fuse_; }
  Ballast& ballast() { return *ballast_; }
  fs::Headroom& headroom() { return *headroom_; }
  fs::OpenClones& open_clones() { return *open_clones_; }
  const fs::ProjectQuotas* projects() const { return projects_.get(); }  ///< null: the host has none

  /// Does work that frees room, and must therefore be possible on a full disk: hot files are given up before it starts,
  /// then the ballast, step by step, while `work` fails for want of space. It may thus run more than once.
  template <typename Work>
  auto with_room(Work work) -> decltype(work()) {
    make_room();
    auto done = work();
    while (!done && done.error().code == Errc::out_of_space && may_go_on() && ballast_->give_up()) done = work();
    ballast_->restore();
    return done;
  }

  /// Stops serving, finishes segments, flushes the database.
  [[nodiscard]] Result<void> close();

 private:
  explicit Store(std::filesystem::path dir) : dir_{std::move(dir)} {}
  Result<void> open_parts(Io& io, const fs::fuse::HostProcesses* processes);
  void make_room();
  bool may_go_on() const { return !database_ || !database_->stopped(); }  ///< if not, the next server tries again

  std::filesystem::path dir_;
  std::string uuid_;
  UniqueFd lock_;
  // In the order of their needs; destroyed backwards.
  std::unique_ptr<Ballast> ballast_;
  std::unique_ptr<fs::Headroom> headroom_;
  std::unique_ptr<fs::ProjectQuotas> projects_;
  std::unique_ptr<cas::Database> database_;
  std::unique_ptr<cas::ContentStore> contents_;
  std::unique_ptr<fs::Catalog> catalog_;
  std::unique_ptr<fs::Staging> staging_;
  std::unique_ptr<fs::StagedFirst> staged_first_;
  std::unique_ptr<cdn::LazyContents> lazy_;
  std::unique_ptr<tier::Tier> tier_;
  std::unique_ptr<fs::Volumes> volumes_;
  std::unique_ptr<fs::OpenClones> open_clones_;
  std::unique_ptr<fs::Settler> settler_;
  std::unique_ptr<fs::fuse::FuseServer> fuse_;
};

/// Takes the lock that keeps a second server out, after the format file was checked and the folders were made.
struct StoreFolder {
  std::string uuid;
  UniqueFd lock;
};
Result<StoreFolder> open_folder(const std::filesystem::path& dir, Io& io);

/// How this program opens the segments of the store with this uuid.
cas::ContentStore::Options content_options(const std::string& uuid);

/// Every column family of the store's database.
std::vector<const cas::Family*> all_families();

}  // namespace stellarium::server
