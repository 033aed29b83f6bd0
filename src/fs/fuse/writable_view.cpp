#include "fs/fuse/writable_view.h"

#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "base/log.h"
#include "fs/fuse/answers.h"
#include "fs/fuse/attributes.h"
#include "fs/fuse/directory_listing.h"
#include "fs/fuse/session.h"

namespace stellarium::fs::fuse {
namespace {

// What a program writes through a mapping changes the file's time without a word to the kernel's FUSE. So long may a
// stat(2) miss that; a call that writes it never misses. Long enough for the calls that follow the making of a file.
constexpr std::uint32_t kMappedValidity = 50'000'000;  // ns

Ino ino_of(NodeId node) {
  return node == NodeId::root() ? kRootIno : node.ino();
}

}  // namespace

WritableTree::NewNode WritableView::node_for(const Request& request, std::uint32_t mode, std::uint32_t umask) {
  WritableTree::NewNode node;
  node.mode = mode;
  node.umask = umask;
  node.uid = request.header().uid;
  node.gid = request.header().gid;
  return node;
}

WritableView::WritableView(const ViewParts& parts, Clone clone, std::shared_ptr<OpenFiles> open_files,
                           std::unique_ptr<AnsweredRequests> answered, bool want_passthrough)
    : parts_{parts},
      clone_{std::move(clone)},
      open_files_{std::move(open_files)},
      answered_{std::move(answered)},
      want_passthrough_{want_passthrough},
      sparse_{parts.contents} {}

std::uint64_t WritableView::features() const {
  using namespace abi::feature;
  std::uint64_t wanted =
      kNoOpendirSupport | kExportSupport | kAtomicOTrunc | kBigWrites | kDontMask | kHandleKillprivV2 | kSetxattrExt;
  if (want_passthrough_) wanted |= kPassthrough;
  if (parts_.dax) wanted |= kMapAlignment | kHasInodeDax;
  return wanted;
}

std::uint32_t WritableView::max_write() const {
  return kMaxWrite;
}

void WritableView::started(std::uint64_t features, bool resumed) {
  features_ = features;
  start_window(features, resumed);
  open_files_->started(features, resumed);
  clone_.mapped->set_incomplete(resumed);
  if (auto ready = answered_->started(resumed); !ready) log::error("{}", to_string(ready.error()));
  if (resumed) return;
  // What was unlinked while an earlier mount had it open.
  const auto orphans = clone_.records->orphans();
  if (!orphans) {
    log::error("{}", to_string(orphans.error()));
    return;
  }
  for (const Entry& orphan : *orphans) {
    clone_.bodies->drop(orphan.ino, orphan.inode);
    const CloneQuota::Weighing weighing{&clone_.bodies->quota(), {orphan.ino}};
    if (auto gone = clone_.records->forget(orphan.ino); !gone) log::error("{}", to_string(gone.error()));
  }
}

Result<Ino> WritableView::locate(NodeId node) const {
  if (node == NodeId::root()) return kRootIno;
  if (node.ino() == 0 || node.tree() != clone_.tree) return stale();
  return node.ino();
}

Result<WritableView::Entry> WritableView::find(NodeId node) const {
  const Result<Ino> ino = locate(node);
  if (!ino) return fail(ino.error());
  Result<std::optional<Inode>> inode = clone_.records->inode(*ino);
  if (!inode) return fail(inode.error());
  if (!*inode) return stale();
  if (auto known = clone_.bodies->refresh(*ino, **inode); !known) return fail(known.error());
  return Entry{*ino, std::move(**inode)};
}

template <typename Out>
void WritableView::set_validity(Out& out, const Entry& entry) const {
  if (node_of(entry.ino) != first_node_of(entry.ino)) return;  // the kernel knows the inode under several ids
  if (may_be_written(entry)) {
    out.attr_valid_nsec = kMappedValidity;
  } else {
    out.attr_valid = kForever;
  }
}
template void WritableView::set_validity(abi::AttrOut&, const Entry&) const;
template void WritableView::set_validity(abi::StatxOut&, const Entry&) const;

bool WritableView::may_be_written(const Entry& entry) const {
  if (entry.inode.body != Body::staged) return false;
  if (open_files_->is_open_through_staged_file(node_of(entry.ino))) return true;
  // A mapping changes the bytes, and then nobody tells the kernel the time.
  const std::uint64_t mark = clone_.mapped->mark(entry.ino);
  if (mark == 0) return false;
  const auto written = clone_.bodies->is_being_written(entry.inode.staged);
  if (!written || *written) return true;
  clone_.mapped->strike(entry.ino, mark);
  return false;
}

abi::EntryOut WritableView::entry_out(const Entry& entry) const {
  abi::EntryOut out{};
  out.nodeid = node_of(entry.ino).value();
  out.entry_valid = kForever;
  set_validity(out, entry);
  out.attr = attr_of(entry);
  return out;
}

bool WritableView::answered_before(const Request& request, Reply& reply) const {
  const auto payload = answered_->find(request);
  if (!payload) return false;
  answer(reply, *payload);
  return true;
}

void WritableView::make(const Request& request, Reply reply, const Growth& growth,
                        const std::function<Result<Entry>(Ino, const Note&)>& change) {
  if (answered_before(request, reply)) return;
  const Result<Ino> parent = locate(request.node());
  if (!parent) return refuse(reply, parent.error());
  CloneQuota::Weighing weighing{&clone_.bodies->quota(), {}};
  if (growth.ino != 0) weighing.add(growth.ino);
  if (auto room = clone_.bodies->quota().admit(growth.bytes); !room) return refuse(reply, room.error());
  const AnsweredRequests::Slot slot{*answered_, request};
  abi::EntryOut out{};
  const Result<Entry> made = change(*parent, [&](cas::Database::Batch& batch, const Entry& entry) {
    clone_.bodies->bound(entry.inode);
    Entry shown = entry;
    if (auto known = clone_.bodies->refresh(shown.ino, shown.inode); !known) log::error("{}", to_string(known.error()));
    out = entry_out(shown);
    slot.note(batch, std::as_bytes(std::span{&out, 1}));
  });
  if (!made) return refuse_change(reply, made.error());
  if (growth.ino == 0) weighing.add_made(made->ino);
  reply.value(out);
}

void WritableView::change(const Request& request, Reply reply,
                          const std::function<Result<Entry>(Ino, const Note&)>& change) {
  if (answered_before(request, reply)) return;
  const Result<Ino> parent = locate(request.node());
  if (!parent) return refuse(reply, parent.error());
  const AnsweredRequests::Slot slot{*answered_, request};
  const Result<Entry> changed = change(*parent, [&](cas::Database::Batch& batch, const Entry& entry) {
    clone_.bodies->bound(entry.inode);
    slot.note(batch, {});
  });
  if (!changed) return refuse_change(reply, changed.error(), false);
  reply.done();
}

void WritableView::refuse_change(Reply& reply, const Error& error, bool may_fail) {
  if (answered_->left_to_next_server(error, may_fail)) return reply.none();
  refuse(reply, error);
}

void WritableView::lookup(const Request& request, std::string_view name, Reply reply) {
  const Result<Ino> parent = locate(request.node());
  if (!parent) return refuse(reply, parent.error());
  Ino child = *parent;
  if (name == "..") {  // asked by NFS only, as is "."
    const auto directory = clone_.records->inode(*parent);
    if (!directory) return refuse(reply, directory.error());
    if (!*directory) return refuse(reply, stale().value());
    child = (*directory)->parent;
  } else if (name != ".") {
    const auto found = clone_.records->lookup(*parent, name);
    if (!found) return refuse(reply, found.error());
    if (!*found) {
      abi::EntryOut missing{};
      missing.entry_valid = kForever;
      reply.value(missing);
      return;
    }
    child = (*found)->ino;
  }
  auto inode = clone_.records->inode(child);
  if (!inode) return refuse(reply, inode.error());
  if (!*inode) {  // removed since the entry was read
    reply.error(ENOENT);
    return;
  }
  if (auto known = clone_.bodies->refresh(child, **inode); !known) return refuse(reply, known.error());
  reply.value(entry_out({child, std::move(**inode)}));
}

void WritableView::opendir(const Request&, Reply reply) {
  if ((features_ & abi::feature::kNoOpendirSupport) != 0) {
    reply.error(ENOSYS);  // the kernel opens and caches directories by itself, and drops what it changes
    return;
  }
  abi::OpenOut out{};
  out.open_flags = abi::open_flag::kKeepCache | abi::open_flag::kCacheDir;
  reply.value(out);
}

void WritableView::readdir(const Request& request, const abi::ReadIn& in, bool plus, Reply reply) {
  const Result<Ino> directory = locate(request.node());
  if (!directory) return refuse(reply, directory.error());
  ListingRules rules{.shown_ino = [](Ino ino) { return ino; }, .directory = {}, .entry = {}, .may_change = true};
  if (plus) {
    rules.entry = [this](Ino ino, Inode& inode) -> Result<abi::EntryOut> {
      if (auto known = clone_.bodies->refresh(ino, inode); !known) return fail(known.error());
      return entry_out({ino, inode});
    };
  }
  DirentWriter out{reply.scratch(in.size), plus};
  const auto listed = list_directory(clone_.records->reader(), *directory, in.offset, rules, out);
  // What fits before the damage is shown; the next call begins at it and fails.
  if (!listed && out.written().empty()) return refuse(reply, listed.error());
  reply.bytes(out.written());
}

void WritableView::symlink(const Request& request, std::string_view name, std::string_view target, Reply reply) {
  auto node = node_for(request, S_IFLNK | 0777, 0);
  node.symlink = target;
  make(request, std::move(reply), {.bytes = OwnRecords::kNode + target.size()},
       [&](Ino parent, const Note& note) { return clone_.records->make(parent, name, node, note); });
}

void WritableView::mknod(const Request& request, const abi::MknodIn& in, std::string_view name, Reply reply) {
  auto node = node_for(request, in.mode, in.umask);
  if (S_ISCHR(in.mode) || S_ISBLK(in.mode)) node.rdev = decode_device(in.rdev);
  make(request, std::move(reply), {},
       [&](Ino parent, const Note& note) { return clone_.records->make(parent, name, node, note); });
}

void WritableView::mkdir(const Request& request, const abi::MkdirIn& in, std::string_view name, Reply reply) {
  const auto node = node_for(request, S_IFDIR | (in.mode & 07777), in.umask);
  make(request, std::move(reply), {},
       [&](Ino parent, const Note& note) { return clone_.records->make(parent, name, node, note); });
}

void WritableView::unlink(const Request& request, std::string_view name, Reply reply) {
  CloneQuota::Weighing weighing{&clone_.bodies->quota(), {}};
  weighing.add(ino_of(request.node()), name);
  change(request, std::move(reply),
         [&](Ino parent, const Note& note) { return clone_.records->unlink(parent, name, note); });
}

void WritableView::rmdir(const Request& request, std::string_view name, Reply reply) {
  change(request, std::move(reply),
         [&](Ino parent, const Note& note) { return clone_.records->rmdir(parent, name, note); });
}

void WritableView::rename(const Request& request, NodeId new_parent, std::uint32_t flags, std::string_view old_name,
                          std::string_view new_name, Reply reply) {
  CloneQuota::Weighing weighing{&clone_.bodies->quota(), {}};
  weighing.add(ino_of(request.node()), old_name);
  weighing.add(ino_of(new_parent), new_name);
  const SyncOrder::Change in_order{clone_.bodies->order()};  // after it: so does a copy-up
  change(request, std::move(reply), [&](Ino parent, const Note& note) -> Result<Entry> {
    const Result<Ino> to = locate(new_parent);
    if (!to) return fail(to.error());
    auto renamed = clone_.records->rename(parent, old_name, *to, new_name, flags, note);
    if (!renamed) return fail(renamed.error());
    if (renamed->replaced) clone_.bodies->took_over(renamed->moved.inode);
    return renamed->replaced.value_or(std::move(renamed->moved));
  });
}

void WritableView::link(const Request& request, NodeId target, std::string_view new_name, Reply reply) {
  const Result<Ino> ino = locate(target);
  if (!ino) return refuse(reply, ino.error());
  make(request, std::move(reply), {.ino = *ino},
       [&](Ino parent, const Note& note) { return clone_.records->link(*ino, parent, new_name, note); });
}

void WritableView::forget(NodeId node) {
  const Result<Ino> ino = locate(node);
  if (!ino || *ino == kRootIno) return;
  open_files_->forgotten(node);
  window_nodes_->forget(node);
  if (node != node_of(*ino)) return;
  {
    // The kernel sends RELEASE first, but another worker may be slower with it. Noted before it is looked at, as
    // `release` ends the handle before it looks here: one of the two sees the other.
    const MutexLock lock{mutex_};
    forgotten_.insert(*ino);
  }
  if (open_files_->is_open_at_all(first_node_of(*ino))) return;
  forget_record(*ino);
}

void WritableView::forget_record(Ino ino) {
  {
    const MutexLock lock{mutex_};
    if (forgotten_.erase(ino) == 0) return;
  }
  clone_.mapped->forget(ino);
  const auto inode = clone_.records->inode(ino);
  if (!inode || !*inode || (*inode)->nlink != 0) return;
  clone_.bodies->drop(ino, **inode);
  const CloneQuota::Weighing weighing{&clone_.bodies->quota(), {ino}};
  if (auto gone = clone_.records->forget(ino); !gone) log::error("{}", to_string(gone.error()));
}

}  // namespace stellarium::fs::fuse
