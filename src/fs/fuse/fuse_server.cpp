#include "fs/fuse/fuse_server.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <map>
#include <thread>

#include "base/log.h"
#include "base/mutex.h"
#include "base/raw_bytes.h"
#include "fs/clones.h"
#include "fs/fuse/content_reader.h"
#include "fs/fuse/dev_fuse_workers.h"
#include "fs/fuse/open_files.h"
#include "fs/fuse/privileges.h"
#include "fs/fuse/read_only_view.h"
#include "fs/fuse/store_view.h"
#include "fs/fuse/waiting_writes.h"
#include "fs/fuse/writable_view.h"

namespace stellarium::fs::fuse {
namespace {

constexpr int kInitTimeoutMs = 10'000;

/// Of sessions whose kernel opens no files of ours.
class NoPassthrough final : public BackingPort {
 public:
  Result<std::uint32_t> open(int) override { return refusal(); }
  Result<std::uint32_t> open_for_writing(int) override { return refusal(); }
  void close(std::uint32_t) override {}

 private:
  static Result<std::uint32_t> refusal() { return fail(Errc::not_supported, "passthrough to a guest"); }
};

class Server final : public FuseServer {
 public:
  Server(const Backing& backing, const Options& options)
      : backing_{backing}, passthrough_{options.passthrough && may_pass_through()}, reader_{backing.tier} {
    if (backing.headroom != nullptr) waiting_ = std::make_unique<WaitingWrites>(*backing.headroom);
    if (options.passthrough && !passthrough_) {
      log::warn(
          "no passthrough: CAP_SYS_ADMIN in the initial user namespace is missing; files are read through the page "
          "cache");
    }
  }

  Result<void> start(unsigned workers) {
    Result<std::unique_ptr<DevFuseWorkers>> started =
        DevFuseWorkers::start(workers != 0 ? workers : std::max(std::thread::hardware_concurrency(), 2u),
                              [this](std::uint64_t id) { detach(id); });
    if (!started) return fail(started.error());
    workers_ = std::move(*started);
    {
      const MutexLock lock{gate_->mutex};
      gate_->server = this;
    }
    backing_.tier.set_release_hook([gate = gate_](const cas::ContentId& content) {
      const MutexLock lock{gate->mutex};
      return gate->server != nullptr && gate->server->let_go(content);
    });
    return {};
  }

  ~Server() override {
    backing_.tier.set_release_hook(nullptr);
    {
      const MutexLock lock{gate_->mutex};  // the tier may be calling the hook just now
      gate_->server = nullptr;
    }
    workers_.reset();
    waiting_.reset();
    std::map<std::uint64_t, Mount> ended;
    {
      const MutexLock lock{mutex_};
      ended.swap(mounts_);
    }
    ended.clear();  // a connection's end takes the lock
    // Parked requests keep their connection; they end when the tier has called back.
    MutexLock lock{mutex_};
    while (connections_ != 0) lock.wait(connection_ended_);
  }

  Result<void> attach(const MountSpec& mount, UniqueFd device, UniqueFd table, bool resumed) override;
  Result<std::shared_ptr<Session>> open_session(const MountSpec& mount, UniqueFd table,
                                                std::shared_ptr<DaxWindow> window) override;
  void set_on_detached(std::function<void(std::uint64_t)> hook) override {
    const MutexLock lock{hook_mutex_};
    on_detached_ = std::move(hook);
  }
  std::vector<MountStats> stats() const override;

 private:
  /// What the tier's hook holds: it may be called a last time while this server ends.
  struct Gate {
    Mutex mutex;
    Server* server GUARDED_BY(mutex) = nullptr;
  };
  struct Mount {
    MountSpec spec;
    std::shared_ptr<DevFuseConnection> connection;  // null: another transport's
    std::weak_ptr<Session> guest;                   // then this
    std::shared_ptr<BackingPort> port;              // closes backing ids for open_files, so it must outlive them
    std::shared_ptr<OpenFiles> open_files;
  };

  Result<std::unique_ptr<Filesystem>> make_view(const MountSpec& mount, const std::shared_ptr<OpenFiles>& open_files,
                                                std::shared_ptr<DaxMappings> dax);
  Result<void> set_quota(const std::string& clone, CloneQuota& quota) const;
  Result<WritableView::Clone> open_clone(const ViewSpec& view, const std::shared_ptr<OpenFiles>& open_files);
  Result<std::unique_ptr<Filesystem>> make_writable(const MountSpec& mount, const ViewParts& parts,
                                                    const std::shared_ptr<OpenFiles>& open_files);
  std::shared_ptr<DevFuseConnection> make_connection(UniqueFd device);
  void count_connection(int change);
  Result<void> list(const Mount& mount);
  Result<void> await_init(const std::shared_ptr<DevFuseConnection>& connection);
  void detach(std::uint64_t id);
  bool let_go(const cas::ContentId& content);

  const Backing backing_;
  const bool passthrough_;
  ContentReader reader_;
  NodeSet unhandled_;
  TreeReadahead readahead_;
  InodeCache inodes_;
  std::unique_ptr<DevFuseWorkers> workers_;
  std::unique_ptr<WaitingWrites> waiting_;
  const std::shared_ptr<Gate> gate_ = std::make_shared<Gate>();

  Mutex hook_mutex_;  // held while the hook runs, so that set_on_detached can promise that an old one does not run any
                      // more
  std::function<void(std::uint64_t)> on_detached_ GUARDED_BY(hook_mutex_);

  mutable Mutex mutex_;
  std::condition_variable connection_ended_;
  std::size_t connections_ GUARDED_BY(mutex_) = 0;
  std::map<std::uint64_t, Mount> mounts_ GUARDED_BY(mutex_);
};

std::shared_ptr<DevFuseConnection> Server::make_connection(UniqueFd device) {
  count_connection(+1);
  return {new DevFuseConnection{std::move(device)}, [this](DevFuseConnection* connection) {
            delete connection;
            count_connection(-1);
          }};
}

void Server::count_connection(int change) {
  const MutexLock lock{mutex_};
  connections_ += static_cast<std::size_t>(change);
  connection_ended_.notify_all();
}

Result<void> Server::list(const Mount& mount) {
  const std::uint64_t id = mount.spec.id;
  const MutexLock lock{mutex_};
  if (mounts_.try_emplace(id, mount).second) return {};
  return fail(Errc::exists, "mount " + std::to_string(id) + " is already served");
}

Result<std::shared_ptr<Session>> Server::open_session(const MountSpec& mount, UniqueFd table,
                                                      std::shared_ptr<DaxWindow> window) {
  const std::string doing = "serving " + mount.mountpoint;
  if (mount.view.passthrough) return fail(Errc::invalid_argument, doing + ": nothing is passed through to a guest");
  Result<HandleTable> handles = HandleTable::open(std::move(table), mount.id);
  if (!handles) return fail(handles.error(), doing);
  const auto port = std::make_shared<NoPassthrough>();
  const auto open_files = std::make_shared<OpenFiles>(std::move(*handles), *port, backing_.tier, false);
  Result<std::unique_ptr<Filesystem>> view =
      make_view(mount, open_files,
                window ? std::make_shared<DaxMappings>(backing_.tier, std::move(window), open_files) : nullptr);
  if (!view) return fail(view.error(), doing);
  count_connection(+1);
  const std::shared_ptr<Session> session{new Session{std::move(*view), Peer::guest, nullptr, mount.view.read_only},
                                         [this, port, id = mount.id](Session* ended) {
                                           delete ended;
                                           detach(id);
                                           count_connection(-1);
                                         }};
  // A machine that is new begins with an INIT of its own.
  if (const auto features = open_files->inherited_features()) session->resume(*features);
  if (auto listed = list({mount, nullptr, session, port, open_files}); !listed) return fail(listed.error(), doing);
  return session;
}

/// A command that sets it finds the clone mounted from now on; one that came before has changed the record.
Result<void> Server::set_quota(const std::string& clone, CloneQuota& quota) const {
  std::optional<QuotaRecord> known;
  for (;;) {
    const auto record = read_quota(backing_.database, clone);
    if (!record) return fail(record.error());
    if (*record == known) break;
    known = *record;
    if (auto set = quota.set(known); !set) return fail(set.error(), "the quota of clone " + clone);
  }
  if (known && passthrough_ && (known->project == 0 || backing_.projects == nullptr))
    log::info("clone {} has a quota, and the host has no project quotas: what it writes comes through the server",
              clone);
  return {};
}

/// The clone as it is now: what the mount was recorded with may lie under snapshots by now. A snapshot of a clone that
/// nobody has open may come in between, and then it has another head.
Result<WritableView::Clone> Server::open_clone(const ViewSpec& view, const std::shared_ptr<OpenFiles>& open_files) {
  const Clones clones{backing_.database, backing_.catalog};
  for (;;) {
    const auto head = clones.find(view.clone);
    if (!head) return fail(head.error());
    if (head->tree != view.tree) return fail(Errc::busy, "clone " + view.clone + " was rolled back meanwhile");
    auto records = WritableTree::open(backing_.database, head->layers);
    WritableView::Clone clone{.tree = view.tree, .records = {}, .bodies = {}, .host = backing_.host_dir};
    if (records) {
      clone.records = std::move(*records);
      const auto quota = std::make_shared<CloneQuota>(CloneQuota::Parts{
          backing_.database, *backing_.staging, backing_.headroom, backing_.projects, *clone.records});
      clone.bodies =
          std::make_shared<CloneBodies>(*clone.records, *backing_.staging, backing_.tier, backing_.database, quota);
      if (backing_.clones == nullptr) {
        if (auto set = set_quota(view.clone, *quota); !set) return fail(set.error());
        return clone;
      }
      const auto is_open = [open_files, tree = view.tree](Ino ino) {
        return open_files->is_open_at_all(ino == kRootIno ? NodeId::root() : NodeId::of(tree, ino));
      };
      const auto open_staged = [open_files] { return open_files->open_staged(); };
      clone.known = backing_.clones->add({clone.records, clone.bodies, is_open, open_staged, clone.mapped});
    }
    const auto now = clones.find(view.clone);
    if (!now) return fail(now.error());
    if (now->layers != head->layers) continue;
    if (!records) return fail(records.error());
    if (auto set = set_quota(view.clone, clone.bodies->quota()); !set) return fail(set.error());
    return clone;
  }
}

Result<std::unique_ptr<Filesystem>> Server::make_writable(const MountSpec& mount, const ViewParts& parts,
                                                          const std::shared_ptr<OpenFiles>& open_files) {
  if (backing_.staging == nullptr) return fail(Errc::not_supported, "clones cannot be mounted here");
  auto clone = open_clone(mount.view, open_files);
  if (!clone) return fail(clone.error());
  return std::make_unique<WritableView>(parts, std::move(*clone), open_files,
                                        std::make_unique<AnsweredRequests>(backing_.database, mount.id),
                                        passthrough_ && mount.view.passthrough);
}

Result<std::unique_ptr<Filesystem>> Server::make_view(const MountSpec& mount,
                                                      const std::shared_ptr<OpenFiles>& open_files,
                                                      std::shared_ptr<DaxMappings> dax) {
  const ViewSpec& spec = mount.view;
  const ViewParts parts{backing_.catalog, backing_.contents, backing_.tier,  reader_,       unhandled_,
                        readahead_,       inodes_,           waiting_.get(), std::move(dax)};
  const bool passthrough = passthrough_ && spec.passthrough;
  if (spec.kind == ViewSpec::Kind::store) {
    return std::make_unique<StoreView>(parts, std::make_shared<StoreTrees>(backing_.database, backing_.catalog),
                                       open_files, passthrough, backing_.volumes);
  }
  if (spec.tree == 0 || spec.tree > NodeId::kMaxTree) {
    return fail(Errc::invalid_argument, "tree number " + std::to_string(spec.tree) + " does not fit into a node id");
  }
  if (spec.kind == ViewSpec::Kind::clone) return make_writable(mount, parts, open_files);
  auto trees = std::make_shared<OneTree>(
      ImageTree{spec.tree, LayerReader{backing_.database, spec.layer}, backing_.catalog.pin(spec.layer)});
  return std::make_unique<ReadOnlyView>(parts, std::move(trees), open_files, spec.tree, passthrough);
}

Result<void> Server::await_init(const std::shared_ptr<DevFuseConnection>& connection) {
  RawBytes message{kMaxRequest};  // of which an INIT touches a page
  std::vector<std::byte> scratch(4096);
  while (!connection->session().ready()) {
    pollfd waiting{connection->device(), POLLIN, 0};
    const int ready = ::poll(&waiting, 1, kInitTimeoutMs);
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0) return fail_errno("waiting for the kernel's first request");
    if (ready == 0) return fail(Errc::unavailable, "the kernel sent no INIT within 10 seconds");
    ByteSpan request;
    switch (connection->receive({message.data(), message.size()}, request)) {
      case DevFuseConnection::Received::request:
        connection->session().handle(request, connection, scratch);
        break;
      case DevFuseConnection::Received::nothing:
        break;
      case DevFuseConnection::Received::gone:
        return fail(Errc::cancelled, "unmounted before it was ready");
    }
  }
  return {};
}

Result<void> Server::attach(const MountSpec& mount, UniqueFd device, UniqueFd table, bool resumed) {
  const std::string doing = "serving " + mount.mountpoint;
  Result<HandleTable> handles = HandleTable::open(std::move(table), mount.id);
  if (!handles) return fail(handles.error(), doing);
  const std::shared_ptr<DevFuseConnection> connection = make_connection(std::move(device));
  const auto open_files = std::make_shared<OpenFiles>(std::move(*handles), *connection, backing_.tier,
                                                      passthrough_ && mount.view.passthrough);
  Result<std::unique_ptr<Filesystem>> view = make_view(mount, open_files, nullptr);
  if (!view) return fail(view.error(), doing);
  connection->set_session(std::make_unique<Session>(std::move(*view), Peer::host, backing_.processes));

  if (const auto features = open_files->inherited_features(); resumed && features) {
    connection->session().resume(*features);
    if ((*features & abi::feature::kHasResend) == 0) {
      log::warn("{}: this kernel cannot resend requests; programs that were waiting when the server died wait on",
                mount.mountpoint);
    } else if (const Result<void> asked = connection->ask_to_resend(); !asked) {
      return fail(asked.error(), doing);
    }
  } else if (const Result<void> ready = await_init(connection); !ready) {
    return fail(ready.error(), doing);
  }
  if (auto listed = list({mount, connection, {}, connection, open_files}); !listed) return fail(listed.error(), doing);
  if (!mount.view.passthrough && !resumed) {
    log::info("{}: passthrough is off, as asked; files are read through the page cache", mount.mountpoint);
  }
  if (const Result<void> added = workers_->add(mount.id, connection); !added) {
    const MutexLock lock{mutex_};
    mounts_.erase(mount.id);
    return fail(added.error(), doing);
  }
  return {};
}

void Server::detach(std::uint64_t id) {
  Mount ended;
  {
    const MutexLock lock{mutex_};
    const auto found = mounts_.find(id);
    if (found == mounts_.end()) return;
    ended = std::move(found->second);
    mounts_.erase(found);
  }
  log::info("{} was unmounted", ended.spec.mountpoint);
  if (ended.spec.view.kind == ViewSpec::Kind::clone) {
    if (auto erased = AnsweredRequests::erase(backing_.database, id); !erased)
      log::warn("{}: {}", ended.spec.mountpoint, to_string(erased.error()));
  }
  const MutexLock lock{hook_mutex_};
  if (on_detached_) on_detached_(id);
}

bool Server::let_go(const cas::ContentId& content) {
  struct Asked {
    std::shared_ptr<BackingPort> port;
    std::shared_ptr<OpenFiles> open_files;
  };
  std::vector<Asked> all;
  {
    const MutexLock lock{mutex_};
    for (const auto& [id, mount] : mounts_) all.push_back({mount.port, mount.open_files});
  }
  return std::ranges::all_of(all, [&content](const Asked& asked) { return asked.open_files->let_go(content); });
}

std::vector<FuseServer::MountStats> Server::stats() const {
  std::vector<std::shared_ptr<Session>> guests;  // the last of one ends without the lock
  const MutexLock lock{mutex_};
  std::vector<MountStats> all;
  for (const auto& [id, mount] : mounts_) {
    const OpenFiles::Counts counts = mount.open_files->counts();
    const std::shared_ptr<Session>& guest = guests.emplace_back(mount.guest.lock());
    if (!guest && !mount.connection) continue;  // it ends just now
    const Session& session = guest ? *guest : mount.connection->session();
    all.push_back({.mount = mount.spec,
                   .requests = session.requests(),
                   .answered_bytes = session.answered_bytes(),
                   .errors = mount.connection ? mount.connection->errors() : 0,
                   .open_handles = counts.handles,
                   .backing_ids = counts.backing_ids,
                   .by_opcode = session.requests_by_opcode(),
                   .passthrough = mount.open_files->passthrough_agreed()});
  }
  return all;
}

}  // namespace

Result<std::unique_ptr<FuseServer>> FuseServer::create(const Backing& backing, const Options& options) {
  auto server = std::make_unique<Server>(backing, options);
  const Result<void> started = server->start(options.workers);
  if (!started) return fail(started.error());
  return server;
}

Result<UniqueFd> FuseServer::make_table() {
  return HandleTable::make();
}

Result<std::optional<std::uint64_t>> FuseServer::mount_of(const UniqueFd& table) {
  const auto mount = HandleTable::mount_of(table.get());
  if (!mount) return fail(mount.error());
  return *mount == 0 ? std::nullopt : std::optional{*mount};
}

}  // namespace stellarium::fs::fuse
