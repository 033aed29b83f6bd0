#include "virtiofsd/guest_request.h"

#include <algorithm>
#include <cstring>

#include "fs/fuse/abi.h"
#include "fs/fuse/request.h"

namespace stellarium::virtiofsd {
namespace {

/// Copies bytes [begin, end) of the pieces, one after the other, behind what was copied before.
void copy(const std::vector<MutableByteSpan>& pieces, std::size_t begin, std::size_t end, MutableByteSpan into) {
  std::size_t at = 0;
  for (const MutableByteSpan piece : pieces) {
    const std::size_t from = std::clamp(begin, at, at + piece.size()), to = std::clamp(end, at, at + piece.size());
    if (from < to) std::memcpy(into.data() + from, piece.data() + (from - at), to - from);
    at += piece.size();
  }
}

void mark_resent(MutableByteSpan message) {
  namespace abi = fs::fuse::abi;
  abi::InHeader header;
  std::memcpy(&header, message.data(), sizeof header);
  header.unique |= abi::kResentBit;
  std::memcpy(message.data(), &header, sizeof header);
}

}  // namespace

GuestRequest take_in(const DescriptorChain& chain, bool again, MutableByteSpan into) {
  namespace abi = fs::fuse::abi;
  constexpr std::size_t kHead = sizeof(abi::InHeader) + sizeof(abi::WriteIn);
  const std::size_t size = chain.readable_bytes;
  if (size > into.size()) return {};
  copy(chain.readable, 0, std::min(kHead, size), into);
  if (again && size >= sizeof(abi::InHeader)) mark_resent(into);
  abi::InHeader header;
  const bool writes = size > kHead && fs::fuse::Request::read_header(into.first(kHead), header) &&
                      header.opcode == static_cast<std::uint32_t>(abi::Opcode::write) && header.extension_units == 0;
  if (!writes) {
    if (size > kHead) copy(chain.readable, kHead, size, into);
    return {into.first(size), {}};
  }
  GuestRequest brought{into.first(kHead), {}};
  std::size_t skipped = kHead;
  for (const ByteSpan piece : chain.readable) {
    const std::size_t before = std::min(skipped, piece.size());
    skipped -= before;
    if (before < piece.size()) brought.data.push_back(piece.subspan(before));
  }
  return brought;
}

}  // namespace stellarium::virtiofsd
