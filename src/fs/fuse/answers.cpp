#include "fs/fuse/answers.h"

#include <cerrno>
#include <cstring>

#include "base/log.h"

namespace stellarium::fs::fuse {

tl::unexpected<Error> stale() {
  return fail(Error{Errc::invalid_argument, "no such node", ESTALE});
}

void refuse(Reply& reply, const Error& error) {
  if (error.code == Errc::corrupt || error.code == Errc::io) log::error("{}", to_string(error));
  reply.error(errno_of(error));
}

void answer(Reply& reply, std::string_view bytes) {
  const MutableByteSpan out = reply.scratch(bytes.size());
  if (out.size() < bytes.size()) {
    reply.error(ERANGE);
    return;
  }
  std::memcpy(out.data(), bytes.data(), bytes.size());
  reply.bytes(out);
}

void answer_xattr(Reply& reply, std::string_view value, std::uint32_t size) {
  if (size == 0) {
    reply.value(abi::GetxattrOut{static_cast<std::uint32_t>(value.size()), 0});
  } else if (value.size() > size) {
    reply.error(ERANGE);
  } else {
    answer(reply, value);
  }
}

}  // namespace stellarium::fs::fuse
