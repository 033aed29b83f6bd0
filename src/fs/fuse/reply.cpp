#include "fs/fuse/reply.h"

#include <cassert>
#include <cerrno>

namespace stellarium::fs::fuse {

std::vector<MutableByteSpan> ReplySink::room(std::size_t /*size*/) {
  return {};
}

int ReplySink::send_filled(std::uint64_t unique, std::size_t /*size*/) {
  assert(false && "there was no room to fill");
  return send(unique, EIO, {});
}

void ReplySink::store(NodeId /*node*/, ByteSpan /*content*/) {}

Reply::~Reply() {
  if (sink_ && !answered_) error(EIO);
}

int Reply::send(int error, ByteSpan payload) {
  assert(sink_ && !answered_);
  answered_ = true;
  count(payload.size());
  return sink_->send(unique_, error, payload);
}

void Reply::count(std::size_t payload) {
  if (answered_bytes_ != nullptr && payload != 0) answered_bytes_->fetch_add(payload, std::memory_order_relaxed);
}

int Reply::error(int sys_errno) {
  assert(sys_errno > 0);
  return send(sys_errno, {});
}

int Reply::bytes(ByteSpan payload) {
  return send(0, payload);
}

int Reply::filled(std::size_t size) {
  assert(sink_ && !answered_);
  answered_ = true;
  count(size);
  return sink_->send_filled(unique_, size);
}

}  // namespace stellarium::fs::fuse
