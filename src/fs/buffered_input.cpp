#include "fs/buffered_input.h"

#include <algorithm>
#include <cassert>
#include <cstring>

namespace stellarium::fs {

Result<bool> BufferedInput::wait_for(std::size_t size) {
  assert(size <= kBytes);
  if (begin_ == end_) begin_ = end_ = 0;
  if (size > kBytes - begin_) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  while (end_ - begin_ < size) {
    const Result<std::size_t> got = input_.read({buffer_.data() + end_, kBytes - end_});
    if (!got) return fail(got.error());
    if (*got == 0) return false;
    end_ += *got;
    bytes_read_ += *got;
  }
  return true;
}

Result<bool> BufferedInput::skip(std::uint64_t size) {
  while (true) {
    const auto part = static_cast<std::size_t>(std::min<std::uint64_t>(size, ready().size()));
    take(part);
    size -= part;
    if (size == 0) return true;
    if (const Result<bool> more = wait_for(1); !more || !*more) return more;
  }
}

Result<std::size_t> BufferedInput::read(MutableByteSpan out) {
  if (out.empty()) return 0;
  if (ready().empty() && out.size() >= kBytes) {  // nothing would be gained by a copy
    const Result<std::size_t> got = input_.read(out);
    if (got) bytes_read_ += *got;
    return got;
  }
  if (const Result<bool> more = wait_for(1); !more) return fail(more.error());
  const ByteSpan part = ready().first(std::min(out.size(), ready().size()));
  if (!part.empty()) std::memcpy(out.data(), part.data(), part.size());
  take(part.size());
  return part.size();
}

}  // namespace stellarium::fs
