#include "fs/tinyvol.h"

#include <algorithm>
#include <cassert>

#include "base/bytes.h"

namespace stellarium::fs {
namespace {

constexpr std::string_view kTinyVolMagic{"TINYVOL\0", 8};
constexpr std::uint32_t kTinyVolVersion = 1;
constexpr std::size_t kTinyVolHeader = 64, kBlockSize = 48;
constexpr std::uint64_t kZeroFlag = 1;
constexpr unsigned kHighBits = 32;  // an offset is stored as its low 32 and its high 16 bits

tl::unexpected<Error> corrupt(const std::string& what) {
  return fail(Errc::corrupt, "volume manifest: " + what);
}

std::string at(std::uint64_t offset) {
  return "block at " + std::to_string(offset);
}

Result<TinyVol::Block> decode_block(ByteReader& in, const TinyVol& volume) {
  TinyVol::Block block;
  const ByteSpan id = in.take(cas::Hash::kSize);
  block.offset = in.le<std::uint32_t>();
  block.offset |= static_cast<std::uint64_t>(in.le<std::uint16_t>()) << kHighBits;
  const std::uint64_t length = std::uint64_t{in.le<std::uint16_t>()} + 1;
  const auto flags = in.le<std::uint64_t>();
  if (!in.ok()) return corrupt("cut short");
  block.id = cas::Hash::from_bytes(id).value();
  block.zero = (flags & kZeroFlag) != 0;
  if ((flags & ~kZeroFlag) != 0) return corrupt(at(block.offset) + " has unknown flags");
  if (block.offset % kVolumeBlock != 0) return corrupt(at(block.offset) + " begins at no block's beginning");
  if (block.offset >= volume.size) return corrupt(at(block.offset) + " lies behind the volume's end");
  if (length != volume_block_length(volume.size, block.offset))
    return corrupt(at(block.offset) + " has a length of " + std::to_string(length));
  if (!volume.blocks.empty() && block.offset <= volume.blocks.back().offset)
    return corrupt(at(block.offset) + " is not behind the one before it");
  if (block.zero != (block.id == cas::ChunkId{}))
    return corrupt(at(block.offset) + " is both zeros and a chunk, or neither");
  if (block.zero && !volume.has_base()) return corrupt(at(block.offset) + " hides the zeros of no base");
  return block;
}

}  // namespace

std::uint64_t volume_block_length(std::uint64_t size, std::uint64_t offset) {
  return offset >= size ? 0 : std::min(kVolumeBlock, size - offset);
}

std::string encode_tinyvol(const TinyVol& volume) {
  assert(volume.size <= kMaxVolumeSize);
  std::string out{kTinyVolMagic};
  out.reserve(kTinyVolHeader + volume.blocks.size() * kBlockSize);
  put_le(out, kTinyVolVersion);
  put_le(out, std::uint32_t{0});
  put_bytes(out, volume.base.span());
  put_le(out, volume.size);
  put_le(out, std::uint64_t{volume.blocks.size()});
  for (const TinyVol::Block& block : volume.blocks) {
    const std::uint64_t length = volume_block_length(volume.size, block.offset);
    assert(length > 0 && block.offset % kVolumeBlock == 0);
    put_bytes(out, block.id.span());
    put_le(out, static_cast<std::uint32_t>(block.offset));
    put_le(out, static_cast<std::uint16_t>(block.offset >> kHighBits));
    put_le(out, static_cast<std::uint16_t>(length - 1));
    put_le(out, block.zero ? kZeroFlag : std::uint64_t{0});
  }
  return out;
}

Result<TinyVol> decode_tinyvol(std::string_view bytes) {
  ByteReader in{as_bytes(bytes)};
  const std::string_view magic = in.text(kTinyVolMagic.size());
  const auto version = in.le<std::uint32_t>();
  const auto flags = in.le<std::uint32_t>();
  const ByteSpan base = in.take(cas::Hash::kSize);
  TinyVol volume;
  volume.size = in.le<std::uint64_t>();
  const auto count = in.le<std::uint64_t>();
  if (!in.ok()) return corrupt("shorter than its header: " + std::to_string(bytes.size()) + " bytes");
  if (magic != kTinyVolMagic) return corrupt("wrong magic");
  if (version != kTinyVolVersion)
    return fail(Errc::version, "volume manifest of version " + std::to_string(version) +
                                   ": this program reads version " + std::to_string(kTinyVolVersion));
  if (flags != 0) return corrupt("unknown flags");
  if (volume.size > kMaxVolumeSize) return corrupt("a size of " + std::to_string(volume.size) + " bytes");
  // Compared by division: the product of a hostile count could wrap around.
  if (in.left() % kBlockSize != 0 || in.left() / kBlockSize != count)
    return corrupt("states " + std::to_string(count) + " blocks, but " + std::to_string(in.left()) + " bytes follow");
  if (count > (volume.size + kVolumeBlock - 1) / kVolumeBlock)
    return corrupt("has more blocks than its size has room for");
  volume.base = cas::Hash::from_bytes(base).value();
  volume.blocks.reserve(count);
  while (volume.blocks.size() < count) {
    auto block = decode_block(in, volume);
    if (!block) return fail(block.error());
    volume.blocks.push_back(*block);
  }
  return volume;
}

}  // namespace stellarium::fs
