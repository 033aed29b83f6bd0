#include "fs/fuse/reply.h"

#include <cassert>
#include <cerrno>

namespace stellarium::fs::fuse {

Reply::~Reply() {
  if (sink_) error(EIO);
}

int Reply::error(int sys_errno) {
  assert(sink_ && sys_errno > 0);
  const auto sink = std::move(sink_);
  return sink->send(unique_, sys_errno, {});
}

int Reply::bytes(ByteSpan payload) {
  assert(sink_);
  const auto sink = std::move(sink_);
  return sink->send(unique_, 0, payload);
}

}  // namespace stellarium::fs::fuse
