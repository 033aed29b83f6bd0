#include "fs/fuse/reply.h"

#include <cassert>
#include <cerrno>

namespace stellarium::fs::fuse {

void ReplySink::store(NodeId /*node*/, ByteSpan /*content*/) {}

Reply::~Reply() {
  if (sink_ && !answered_) error(EIO);
}

int Reply::send(int error, ByteSpan payload) {
  assert(sink_ && !answered_);
  answered_ = true;
  return sink_->send(unique_, error, payload);
}

int Reply::error(int sys_errno) {
  assert(sys_errno > 0);
  return send(sys_errno, {});
}

int Reply::bytes(ByteSpan payload) {
  return send(0, payload);
}

}  // namespace stellarium::fs::fuse
