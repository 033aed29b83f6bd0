// The bytes of a writable view's files.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/log.h"
#include "fs/fuse/answers.h"
#include "fs/fuse/attributes.h"
#include "fs/fuse/parked_replies.h"
#include "fs/fuse/waiting_writes.h"
#include "fs/fuse/writable_view.h"

namespace stellarium::fs::fuse {
namespace {

constexpr std::uint64_t kMaxCopy = 8u << 20;  // of one COPY_FILE_RANGE: nobody waits long behind it

}  // namespace

bool WritableView::passes_through() const {
  return open_files_->passes_through() && clone_.bodies->quota().may_pass_through();
}

Result<void> WritableView::may_write(NodeId node, Ino ino) {
  if (node != node_of(ino)) return stale();
  if (in_window(node)) return leave_window(node, ino);
  if (!open_files_->is_open_through_hot_file(node)) return {};
  // Copied first: nobody must be able to open the new node through the hot file.
  if (auto file = clone_.bodies->writable(ino); !file) return fail(file.error());
  if (auto renewed = open_files_->renew(node); !renewed) return renewed;
  return stale();
}

void WritableView::open_made(const Request& request, const abi::CreateIn& in, Reply reply, const MakeFile& make) {
  if (answered_before(request, reply)) return;
  const Result<Ino> parent = locate(request.node());
  if (!parent) return refuse(reply, parent.error());
  CloneQuota::Weighing weighing{&clone_.bodies->quota(), {}};
  if (auto room = clone_.bodies->quota().admit(OwnRecords::kNode); !room) return refuse(reply, room.error());
  auto node = node_for(request, S_IFREG | (in.mode & 07777), in.umask);
  WritableTarget target{
      .node = {}, .for_writing = true, .direct = (in.flags & O_DIRECT) != 0, .staged = nullptr, .still = {}};
  if (passes_through()) {
    const auto file = clone_.bodies->create();
    if (!file) return refuse(reply, file.error());
    target.staged = *file;
    node.staged = (*file)->id();
  }
  const AnsweredRequests::Slot slot{*answered_, request};
  abi::CreateOut out{};
  Result<void> opened;
  const Result<Entry> made = [&] {
    const SyncOrder::Change in_order{clone_.bodies->order()};
    return make(*parent, node, [&](cas::Database::Batch& batch, const Entry& entry) {
      clone_.bodies->bound(entry.inode);
      target.node = node_of(entry.ino);
      Inode timed = entry.inode;  // what the staged file says from now on is not earlier than what we say
      opened = clone_.bodies->set_times(timed, true);
      if (opened) {
        const auto handle = open_files_->open_now(request.id(), target);
        if (handle) out.open = *handle;
        if (!handle) opened = fail(handle.error());
      }
      out.entry = entry_out(entry);
      slot.note(batch, std::as_bytes(std::span{&out, 1}));
    });
  }();
  if (!made) {
    open_files_->release(out.open.fh, NodeId{out.entry.nodeid});
    if (target.staged) clone_.bodies->discard(target.staged->id());
  }
  if (!made && made.error().sys_errno == EEXIST && (in.flags & O_EXCL) == 0) {
    // Somebody else made it since the kernel looked; the kernel then opens it by way of its own look-up.
    reply.error(ESTALE);
    return;
  }
  if (!made) return refuse_change(reply, made.error());
  weighing.add_made(made->ino);
  if (!opened) return refuse(reply, opened.error());
  open_files_->opened(out.open, node_of(made->ino), reply.value(out) == 0);
}

void WritableView::create(const Request& request, const abi::CreateIn& in, std::string_view name, Reply reply) {
  open_made(request, in, std::move(reply), [&](Ino parent, const WritableTree::NewNode& node, const Note& note) {
    return clone_.records->make(parent, name, node, note);
  });
}

void WritableView::tmpfile(const Request& request, const abi::CreateIn& in, Reply reply) {
  open_made(request, in, std::move(reply), [&](Ino parent, const WritableTree::NewNode& node, const Note& note) {
    return clone_.records->make_unnamed(parent, node, note);
  });
}

void WritableView::open(const Request& request, const abi::OpenIn& in, Reply reply) {
  const Result<Ino> ino = locate(request.node());
  if (!ino) return refuse(reply, ino.error());
  const WriteGate::Pass pass{clone_.bodies->gate()};
  const bool drop = (in.open_flags & abi::kOpenKillSuidgid) != 0;
  if (request.node() != node_of(*ino)) return refuse(reply, stale().value());
  if (opens_for_writing(in.flags)) {
    if (auto may = may_write(request.node(), *ino); !may) return refuse(reply, may.error());
  }
  if ((in.flags & O_TRUNC) != 0) {
    if (auto cut = clone_.bodies->truncate(*ino, 0); !cut) return refuse(reply, cut.error());
  }
  open_existing(request, *ino, in.flags, drop, std::move(reply));
}

void WritableView::open_existing(const Request& request, Ino ino, std::uint32_t flags, bool drop, Reply reply) {
  if (drop) {
    if (auto dropped = drop_privileges(request, ino); !dropped) return refuse(reply, dropped.error());
  }
  const NodeId node = node_of(ino);
  const auto inode = clone_.records->inode(ino);
  if (!inode) return refuse(reply, inode.error());
  if (!*inode) return refuse(reply, stale().value());
  if (!S_ISREG((*inode)->mode)) return reply.error(S_ISDIR((*inode)->mode) ? EISDIR : EINVAL), void();
  if (!opens_for_writing(flags) && (*inode)->program && (*inode)->body == Body::content) {
    OpenTarget target{node, {(*inode)->content, (*inode)->size}, true};
    // While it waited for its hot file, somebody may have written the file.
    target.still = [this, ino, content = (*inode)->content] {
      const auto now = clone_.records->inode(ino);
      return now && *now && (*now)->body == Body::content && (*now)->content == content;
    };
    open_files_->open(request, target, std::move(reply));
    return;
  }
  const auto file = file_to_open(node, ino, **inode, opens_for_writing(flags));
  if (!file) return refuse(reply, file.error());
  WritableTarget target{.node = node,
                        .for_writing = opens_for_writing(flags),
                        .direct = (flags & O_DIRECT) != 0,
                        .staged = *file,
                        .still = {}};
  if (target.staged) {
    target.still = [this, ino, id = target.staged->id()] {
      const auto now = clone_.records->inode(ino);
      return now && *now && (*now)->body == Body::staged && (*now)->staged == id;  // at the gate: still its own
    };
  }
  const auto handle = open_files_->open_now(request.id(), target);
  if (!handle && handle.error().code == Errc::busy) {  // passed through since it was asked
    const auto may = may_write(node, ino);
    return refuse(reply, may ? handle.error() : may.error());
  }
  if (!handle) return refuse(reply, handle.error());
  open_files_->opened(*handle, node, reply.value(*handle) == 0);
}

Result<std::shared_ptr<StagedFile>> WritableView::file_to_open(NodeId node, Ino ino, const Inode& inode,
                                                               bool for_writing) {
  if (!passes_through()) return std::shared_ptr<StagedFile>{};
  if (inode.body == Body::staged) {
    auto own = clone_.bodies->own(ino);
    if (!own || *own || !for_writing) return own;
  }
  // The first open for writing copies a small file, because only the first open can choose how it is read and written.
  if (!for_writing || inode.size > CloneBodies::kWholeCopy || open_files_->is_open(node))
    return std::shared_ptr<StagedFile>{};
  if (auto made = clone_.bodies->writable(ino); !made) return made;
  return clone_.bodies->own(ino);
}

void WritableView::read(const Request& request, const abi::ReadIn& in, Reply reply) {
  const Result<Ino> ino = locate(request.node());
  if (!ino) return refuse(reply, ino.error());
  auto found = clone_.records->inode(*ino);
  if (!found) return refuse(reply, found.error());
  if (!*found) return refuse(reply, stale().value());
  Inode& inode = **found;
  if (!S_ISREG(inode.mode)) return reply.error(S_ISDIR(inode.mode) ? EISDIR : EINVAL), void();
  const auto content = clone_.bodies->content_at(inode, in.offset, in.size);
  if (!content) return refuse(reply, content.error());
  if (*content) {
    parts_.reader.read(request, **content, in.offset, in.size, std::move(reply));
    return;
  }
  if (const auto room = reply.room(in.size); !room.empty()) {
    const auto read = clone_.bodies->read_straight(*ino, inode, in.offset, room);
    if (!read) return refuse(reply, read.error());
    if (*read) return reply.filled(**read), void();
  }
  const MutableByteSpan out = reply.scratch(in.size);
  const Result<std::size_t> read = clone_.bodies->read(*ino, inode, in.offset, out);
  if (!read) return refuse(reply, read.error());
  reply.bytes(out.first(*read));
}

Result<std::size_t> WritableView::write_now(NodeId node, const abi::WriteIn& in, ByteParts data) {
  const Result<Ino> ino = locate(node);
  if (!ino) return fail(ino.error());
  const WriteGate::Pass pass{clone_.bodies->gate()};
  return clone_.bodies->write(*ino, data, in.offset);
}

void WritableView::answer_write(Reply reply, const Result<std::size_t>& written) {
  if (!written) return refuse_change(reply, written.error());
  reply.value(abi::WriteOut{static_cast<std::uint32_t>(*written), 0});
}

void WritableView::write(const Request& request, const abi::WriteIn& in, ByteParts data, Reply reply) {
  if (in.offset > std::uint64_t{INT64_MAX} - in.size) return reply.error(EFBIG), void();
  const NodeId node = request.node();
  if ((in.write_flags & abi::write_flag::kKillSuidgid) != 0) {  // as on ext4 before anything is written
    const Result<Ino> ino = locate(node);
    const auto dropped = ino ? drop_privileges(request, *ino) : fail(ino.error());
    if (!dropped) return refuse(reply, dropped.error());
  }
  const auto written = write_now(node, in, data);
  const bool full = !written && errno_of(written.error()) == ENOSPC;
  if (!full || parts_.waiting == nullptr || !parts_.waiting->may_wait(in.size))
    return answer_write(std::move(reply), written);
  const auto parked = ParkedReplies::park(request, std::move(reply), ParkedReply::By::killing_signal,
                                          [](Reply early) { early.error(EINTR); });
  std::vector<std::byte> kept(in.size);
  gather(data, kept);
  const auto try_again = [this, parked, node, in, kept = std::move(kept)] {
    const ByteSpan whole{kept};
    if (auto due = parked->take()) answer_write(std::move(*due), write_now(node, in, {&whole, 1}));
  };
  parts_.waiting->add(in.size, try_again);
}

void WritableView::lseek(const Request& request, const abi::LseekIn& in, Reply reply) {
  Result<Entry> found = find(request.node());
  if (!found) return refuse(reply, found.error());
  Inode& inode = found->inode;
  const bool data = in.whence == SEEK_DATA;
  if (!S_ISREG(inode.mode) || (!data && in.whence != SEEK_HOLE)) return reply.error(EINVAL), void();
  if (in.offset >= inode.size) return reply.error(ENXIO), void();
  const auto next_in = [&](const tier::ContentRef& content, std::uint64_t offset) -> Result<std::uint64_t> {
    const auto map = sparse_.find(content);
    if (!map) return fail(map.error());
    return data ? (*map)->next_data(offset) : (*map)->next_hole(offset);
  };
  Result<std::uint64_t> at = data ? in.offset : inode.size;
  if (inode.body == Body::staged) {
    at = clone_.bodies->seek(found->ino, inode, in.offset, data, [&](const StagedBase& base, std::uint64_t offset) {
      return next_in({base.content, base.size}, offset);
    });
    if (!at && clone_.bodies->moved_on(found->ino, inode, at.error())) return lseek(request, in, std::move(reply));
  } else if (inode.body == Body::content && inode.allocated < inode.size) {
    at = next_in({inode.content, inode.size}, in.offset);
  }
  if (!at) return refuse(reply, at.error());
  if (data && *at >= inode.size) return reply.error(ENXIO), void();
  reply.value(abi::LseekOut{*at});
}

void WritableView::fallocate(const Request& request, const abi::FallocateIn& in, Reply reply) {
  constexpr std::uint32_t kKnown = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE;
  const Result<Ino> ino = locate(request.node());
  if (!ino) return refuse(reply, ino.error());
  if ((in.mode & ~kKnown) != 0) return reply.error(EOPNOTSUPP), void();
  if (in.length == 0 || in.offset > INT64_MAX || in.length > INT64_MAX - in.offset)
    return reply.error(in.length == 0 ? EINVAL : EFBIG), void();
  const WriteGate::Pass pass{clone_.bodies->gate()};
  const auto done = clone_.bodies->allocate(*ino, static_cast<int>(in.mode), in.offset, in.length);
  if (!done) return refuse(reply, done.error());
  reply.done();
}

void WritableView::copy_file_range(const Request& request, const abi::CopyFileRangeIn& in, bool wide, Reply reply) {
  const WriteGate::Pass pass{clone_.bodies->gate()};
  Result<Entry> source = find(request.node());
  if (!source) return refuse(reply, source.error());
  const Result<Ino> target = locate(NodeId{in.node_out});
  if (!target) return refuse(reply, target.error());
  if (in.flags != 0) return reply.error(EINVAL), void();
  const std::uint64_t length = std::min(readable(source->inode.size, in.offset_in, in.length), kMaxCopy);
  if (in.offset_out > INT64_MAX - length) return reply.error(EFBIG), void();
  const MutableByteSpan buffer = reply.scratch(reply.max_payload());
  std::uint64_t done = 0;
  while (done < length) {
    const auto part = buffer.first(static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), length - done)));
    const auto read = clone_.bodies->read(source->ino, source->inode, in.offset_in + done, part);
    if (!read) return refuse(reply, read.error());
    if (*read == 0) break;
    const auto written = clone_.bodies->write(*target, part.first(*read), in.offset_out + done);
    if (!written && done == 0) return refuse(reply, written.error());
    done += written.value_or(0);
    if (!written || *written < *read) break;
  }
  if (wide) {
    reply.value(abi::CopyFileRangeOut{done});
  } else {
    reply.value(abi::WriteOut{static_cast<std::uint32_t>(done), 0});
  }
}

void WritableView::fsync(const Request& request, const abi::FsyncIn&, Reply reply) {
  const Result<Ino> ino = locate(request.node());
  if (!ino) return refuse(reply, ino.error());
  if (auto synced = clone_.bodies->sync(*ino); !synced) return refuse(reply, synced.error());
  reply.done();
}

void WritableView::fsyncdir(const Request& request, const abi::FsyncIn& in, Reply reply) {
  fsync(request, in, std::move(reply));
}

void WritableView::syncfs(const Request&, Reply reply) {
  if (auto synced = clone_.bodies->sync_all(); !synced) return refuse(reply, synced.error());
  reply.done();
}

void WritableView::release(const Request& request, const abi::ReleaseIn& in, Reply reply) {
  const Result<Ino> ino = locate(request.node());
  if (ino && open_files_->is_open_through_staged_file(request.node())) clone_.mapped->add(*ino);
  const bool last = open_files_->release(in.fh, request.node());
  reply.done();
  if (!last || !ino) return;
  if (!open_files_->is_open_at_all(first_node_of(*ino))) forget_record(*ino);
}

}  // namespace stellarium::fs::fuse
