#include "tools/server/mounts.h"

#include <fcntl.h>
#include <sys/random.h>

#include <chrono>
#include <set>
#include <sstream>

#include "base/log.h"
#include "fs/fuse/mount_table.h"

namespace stellarium::server {
namespace {

using MountSpec = fs::fuse::FuseServer::MountSpec;

constexpr auto kEnding = std::chrono::seconds{10};  // of a mount that the kernel has ended already, on a busy disk
constexpr std::size_t kMaxMountpoint = 2048;        // longer ones are cut: they are for listings only

std::string record_name(std::uint64_t id) {
  return "mount-" + std::to_string(id);
}

Result<UniqueFd> duplicate(const UniqueFd& fd) {
  UniqueFd copy{::fcntl(fd.get(), F_DUPFD_CLOEXEC, 3)};
  if (!copy) return fail_errno("duplicating a descriptor");
  return copy;
}

/// Unique for ever without a counter on disk: 63 random bits.
Result<std::uint64_t> new_mount_id() {
  std::uint64_t id = 0;
  if (::getrandom(&id, sizeof id, 0) != static_cast<ssize_t>(sizeof id)) return fail_errno("getrandom");
  return (id >> 1) | 1;
}

}  // namespace

std::string encode_mount(const MountSpec& spec) {
  std::string out;
  put_le(out, spec.id);
  const std::string_view mountpoint = std::string_view{spec.mountpoint}.substr(0, kMaxMountpoint);
  put_varint(out, mountpoint.size());
  out += mountpoint;
  out += spec.view.encode();
  return out;
}

Result<MountSpec> decode_mount(std::string_view blob) {
  ByteReader in{as_bytes(blob)};
  MountSpec spec;
  spec.id = in.le<std::uint64_t>();
  const std::uint64_t size = in.varint();
  spec.mountpoint = std::string{in.text(size)};
  const std::string_view rest = in.text(in.left());
  if (!in.ok() || spec.id == 0) return fail(Errc::invalid_argument, "a malformed mount record");
  auto view = fs::fuse::ViewSpec::decode(rest);
  if (!view) return fail(view.error());
  spec.view = std::move(*view);
  return spec;
}

Mounts::Mounts(Store& store, keeper::KeeperLink& keeper, Janitor& janitor, const Outside& outside)
    : store_{store}, keeper_{keeper}, janitor_{janitor}, outside_{outside} {
  store_.fuse().set_on_detached([this](std::uint64_t id) { forget(id); });
}

Mounts::~Mounts() {
  store_.fuse().set_on_detached({});
}

Result<void> Mounts::check_unmounted_locked(const std::string& clone) const {
  for (const auto& [id, mount] : mounts_) {
    if (mount.spec.view.kind == fs::fuse::ViewSpec::Kind::clone && mount.spec.view.clone == clone)
      return fail(Errc::busy, "clone " + clone + " is mounted on " + mount.spec.mountpoint);
  }
  return {};
}

std::string Mounts::mountpoint_of(const std::string& clone) const {
  MutexLock lock{mutex_};
  for (const auto& [id, mount] : mounts_)
    if (mount.spec.view.kind == fs::fuse::ViewSpec::Kind::clone && mount.spec.view.clone == clone)
      return mount.spec.mountpoint;
  return {};
}

Result<void> Mounts::check_unmounted(const std::string& clone) const {
  const std::string where = mountpoint_of(clone);
  if (where.empty()) return {};
  std::istringstream table{outside_.mounts()};
  const bool ending =
      !fs::fuse::mount_in(table, where);  // the kernel says so to the next command before a worker learns of it
  const auto until = std::chrono::steady_clock::now() + (ending ? kEnding : std::chrono::seconds{0});
  MutexLock lock{mutex_};
  Result<void> free = check_unmounted_locked(clone);
  while (!free && std::chrono::steady_clock::now() < until) {
    lock.wait_for(ended_, kEnding);
    free = check_unmounted_locked(clone);
  }
  return free;
}

Result<void> Mounts::check_unmounted(const std::vector<std::string>& clones) const {
  std::set<std::string> mounted;
  for (const MountSpec& spec : list())
    if (spec.view.kind == fs::fuse::ViewSpec::Kind::clone) mounted.insert(spec.view.clone);
  for (const std::string& clone : clones) {
    if (!mounted.contains(clone)) continue;
    if (auto free = check_unmounted(clone); !free) return free;
  }
  return {};
}

Result<void> Mounts::remember(const MountSpec& spec, bool kept) {
  Mount mount{spec, nullptr, kept};
  if (spec.view.kind == fs::fuse::ViewSpec::Kind::image) mount.pin = store_.catalog().pin(spec.view.layer);
  MutexLock lock{mutex_};
  if (spec.view.kind == fs::fuse::ViewSpec::Kind::clone) {
    if (auto free = check_unmounted_locked(spec.view.clone); !free) return free;
  }
  mounts_.insert_or_assign(spec.id, std::move(mount));
  return {};
}

Mounts::Listed Mounts::unlist(std::uint64_t id) {
  std::map<std::uint64_t, Mount>::node_type ended;  // its pin goes when no lock is held
  {
    MutexLock lock{mutex_};
    ended = mounts_.extract(id);
  }
  ended_.notify_all();
  if (ended.empty()) return Listed::no;
  return ended.mapped().kept ? Listed::with_keeper : Listed::here;
}

void Mounts::forget(std::uint64_t id) {
  const Listed listed = unlist(id);
  if (listed == Listed::no) return;
  janitor_.wake();
  if (listed != Listed::with_keeper) return;
  if (auto removed = keeper_.remove(record_name(id)); !removed)
    log::warn("mount {}: {}", id, to_string(removed.error()));
}

Result<void> Mounts::resume_one(const keeper::Record& record) {
  if (record.descriptors.size() != 2) return fail(Errc::invalid_argument, "a mount record without its two descriptors");
  auto spec = decode_mount(record.blob);
  if (!spec) return fail(spec.error());
  auto device = duplicate(record.descriptors[0]);
  auto table = duplicate(record.descriptors[1]);
  if (!device) return fail(device.error());
  if (!table) return fail(table.error());
  if (auto kept = remember(*spec, true); !kept) return kept;  // first: the mount may end while it is being attached
  if (auto attached = store_.fuse().attach(*spec, std::move(*device), std::move(*table), true); !attached) {
    unlist(spec->id);
    return attached;
  }
  return {};
}

void Mounts::resume(std::vector<keeper::Record>&& inherited) {
  const std::vector<keeper::Record> records = std::move(inherited);  // our copies of the descriptors end here
  for (const keeper::Record& record : records) {
    auto resumed = resume_one(record);
    if (resumed) continue;
    log::error("{}: cannot take over: {}", record.name, to_string(resumed.error()));
    if (auto removed = keeper_.remove(record.name); !removed)
      log::error("{}: {}", record.name, to_string(removed.error()));
  }
  if (!records.empty()) log::info("took over {} mounts", list().size());
}

Result<void> Mounts::add(fs::fuse::ViewSpec view, const std::string& mountpoint, UniqueFd device) {
  auto id = new_mount_id();
  if (!id) return fail(id.error());
  const MountSpec spec{*id, mountpoint, std::move(view)};
  auto table = fs::fuse::FuseServer::make_table();
  if (!table) return fail(table.error());
  // The keeper first: from the first answered request on, the mount must outlive us.
  keeper::Record record{record_name(spec.id), encode_mount(spec), {}};
  for (const UniqueFd* fd : {&device, &*table}) {
    auto copy = duplicate(*fd);
    if (!copy) return fail(copy.error());
    record.descriptors.push_back(std::move(*copy));
  }
  if (auto free = remember(spec, true); !free) return free;
  if (auto kept = keeper_.put(record); !kept) {
    unlist(spec.id);
    return fail(kept.error(), "mounting on " + mountpoint);
  }
  if (auto attached = store_.fuse().attach(spec, std::move(device), std::move(*table), false); !attached) {
    forget(spec.id);
    return fail(attached.error(), "mounting on " + mountpoint);
  }
  return {};
}

Result<std::shared_ptr<fs::fuse::Session>> Mounts::open_session(fs::fuse::ViewSpec view, const std::string& socket,
                                                                const UniqueFd& table,
                                                                std::shared_ptr<fs::fuse::DaxWindow> window) {
  const auto earlier = fs::fuse::FuseServer::mount_of(table);
  if (!earlier) return fail(earlier.error());
  const auto id = *earlier ? Result<std::uint64_t>{**earlier} : new_mount_id();
  if (!id) return fail(id.error());
  auto copy = duplicate(table);
  if (!copy) return fail(copy.error());
  const MountSpec spec{*id, socket, std::move(view)};
  if (auto free = remember(spec, false); !free) return fail(free.error());
  auto session = store_.fuse().open_session(spec, std::move(*copy), std::move(window));
  if (!session) unlist(spec.id);
  return session;
}

std::vector<MountSpec> Mounts::list(Which which) const {
  MutexLock lock{mutex_};
  std::vector<MountSpec> specs;
  for (const auto& [id, mount] : mounts_)
    if (which == Which::all || mount.kept) specs.push_back(mount.spec);
  return specs;
}

}  // namespace stellarium::server
