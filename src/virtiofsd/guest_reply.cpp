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
  abi::OutHeader header{static_cast<std::uint32_t>(sizeof header + payload.size()), -error, unique & ~abi::kResentBit};
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

std::vector<MutableByteSpan> GuestReply::room(std::size_t size) {
  std::vector<MutableByteSpan> pieces;
  constexpr std::size_t kHeader = sizeof(fs::fuse::abi::OutHeader);
  if (taken_.chain.writable_bytes < kHeader || taken_.chain.writable_bytes - kHeader < size) return pieces;
  std::size_t skipped = kHeader;
  for (MutableByteSpan piece : taken_.chain.writable) {
    const std::size_t before = std::min(skipped, piece.size());
    skipped -= before;
    piece = piece.subspan(before);
    piece = piece.first(std::min(piece.size(), size));
    size -= piece.size();
    if (piece.empty()) continue;
    // Pages that follow each other here are one piece for the system call.
    if (!pieces.empty() && pieces.back().data() + pieces.back().size() == piece.data()) {
      pieces.back() = {pieces.back().data(), pieces.back().size() + piece.size()};
    } else {
      pieces.push_back(piece);
    }
  }
  return pieces;
}

int GuestReply::send_filled(std::uint64_t unique, std::size_t size) {
  namespace abi = fs::fuse::abi;
  if (std::exchange(answered_, true)) return ENOENT;
  const abi::OutHeader header{static_cast<std::uint32_t>(sizeof header + size), 0, unique & ~abi::kResentBit};
  Scatter{taken_.chain.writable}.put(std::as_bytes(std::span{&header, 1}));
  queue_.give_back(taken_, header.len);
  return 0;
}

}  // namespace stellarium::virtiofsd
