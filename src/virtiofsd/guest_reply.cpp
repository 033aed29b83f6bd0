#include "virtiofsd/guest_reply.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/log.h"
#include "fs/fuse/abi.h"

namespace stellarium::virtiofsd {
namespace {

/// Copies into pieces one after the other; `at` is where the next copy begins.
class Scatter {
 public:
  explicit Scatter(const std::vector<MutableByteSpan>& pieces) : pieces_{pieces} {}
  void put(ByteSpan bytes) {
    while (!bytes.empty()) {
      const MutableByteSpan piece = pieces_[piece_].subspan(offset_);
      const std::size_t here = std::min(piece.size(), bytes.size());
      if (here > 0) std::memcpy(piece.data(), bytes.data(), here);
      bytes = bytes.subspan(here);
      offset_ += here;
      if (here != piece.size()) continue;
      ++piece_;
      offset_ = 0;
    }
  }

 private:
  const std::vector<MutableByteSpan>& pieces_;
  std::size_t piece_ = 0, offset_ = 0;
};

}  // namespace

GuestReply::~GuestReply() {
  if (!answered_) queue_.give_back(taken_, 0);
}

int GuestReply::send(std::uint64_t unique, int error, ByteSpan payload) {
  namespace abi = fs::fuse::abi;
  if (std::exchange(answered_, true)) return ENOENT;
  abi::OutHeader header{static_cast<std::uint32_t>(sizeof header + payload.size()), -error, unique};
  if (taken_.chain.writable_bytes < header.len) {
    if (!payload.empty())
      log::warn("an answer of {} bytes for a guest's request with room for {}", header.len,
                taken_.chain.writable_bytes);
    payload = {};
    header.len = sizeof header;
    header.error = error == 0 ? -EIO : -error;
  }
  if (taken_.chain.writable_bytes < header.len) {
    queue_.give_back(taken_, 0);
    return ENOENT;
  }
  Scatter out{taken_.chain.writable};
  out.put(std::as_bytes(std::span{&header, 1}));
  out.put(payload);
  queue_.give_back(taken_, header.len);
  return 0;
}

}  // namespace stellarium::virtiofsd
