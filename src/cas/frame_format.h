#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "cas/chunk_source.h"  // DecodedFrame
#include "cas/codec.h"
#include "cas/frame_buffers.h"
#include "cas/hash.h"

namespace stellarium::cas {

/// What a container holds. The values are part of the format (docs/formats/cosmic-pack.md).
enum class FrameKind : std::uint8_t {
  chunks = 1,  ///< consecutive chunks of larger contents, and programs of any size
  pack = 2,    ///< a Cosmic Pack: many small contents
  recipe = 3,  ///< recipe pages (recipe.h), kept so that the database can be rebuilt
  freed = 4,   ///< nothing any more: its chunks were collected, its blocks may be holes
};

inline constexpr std::size_t kFrameHeaderSize = 64;
inline constexpr std::size_t kFrameEntrySize = 40;
inline constexpr std::size_t kMaxFrameEntries = 1024;
inline constexpr std::size_t kMaxFrameRaw = 256u << 10;  ///< exactly: zstd has other parameter tables above this size
inline constexpr std::size_t kMaxPackRaw = 64u << 10;
/// No container but a freed one is larger: stored data never exceeds the raw size.
inline constexpr std::size_t kMaxContainer = kFrameHeaderSize + kMaxFrameEntries * kFrameEntrySize + kMaxFrameRaw;

std::size_t max_raw_size(FrameKind kind);  ///< bytes of uncompressed data that one container of this kind may hold

/// The first 64 bytes of a container, checked for shape only: the checksum needs the index too.
struct FrameHeader {
  FrameKind kind;
  Codec codec;
  std::uint32_t count;        ///< of entries: 1 … kMaxFrameEntries; 0 if freed
  std::uint32_t raw_size;     ///< 1 … max_raw_size(kind); 0 if freed
  std::uint32_t stored_size;  ///< 1 … raw_size (equal for Codec::raw)

  std::size_t index_size() const { return count * kFrameEntrySize; }
  std::size_t container_size() const { return kFrameHeaderSize + index_size() + stored_size; }
};

/// A container's header and index, checked against its checksum.
struct FrameIndex {
  FrameHeader header;
  std::vector<DecodedFrame::Entry> entries;  ///< back to back from offset 0; together raw_size bytes
};

/// A whole container, checked but not decoded. Borrows the bytes that it was parsed from.
struct FrameView {
  FrameIndex index;
  ByteSpan stored;
};

/// Errors of the parsers: corrupt (what and where, expected and found); version (written by another version).
/// Each takes untrusted bytes and reads nothing outside them.

/// Takes at least kFrameHeaderSize bytes and looks at those only.
[[nodiscard]] Result<FrameHeader> parse_frame_header(ByteSpan bytes);
/// Takes at least header and index, looks at those only.
[[nodiscard]] Result<FrameIndex> parse_frame_index(ByteSpan bytes);
/// Takes exactly one container. One that was freed is `not_found`: who looked it up before should look again.
[[nodiscard]] Result<FrameView> parse_frame(ByteSpan bytes);
/// Decompresses and checks every chunk against its id: no byte leaves here unverified. Errors: corrupt.
/// Cost: about 160 us for 256 KiB of zstd, 45 us of them BLAKE3; with the branch filter 100 us more.
/// `memory` (of kMaxFrameRaw): where its bytes shall be; nullptr: memory of their own.
[[nodiscard]] Result<DecodedFrame> decode_frame(const FrameView& view, Decompressor& decompressor,
                                                FrameBuffers* memory = nullptr);

/// The header that turns a container of `container_size` bytes into a freed one of the same size.
std::vector<std::byte> encode_freed_header(std::size_t container_size);

/// Collects chunks for one container.
///
/// Threads: one at a time. Memory: one buffer, two more while it encodes.
class FrameBuilder {
 public:
  explicit FrameBuilder(FrameKind kind,
                        std::shared_ptr<FrameBuffers> buffers = std::make_shared<FrameBuffers>(kMaxContainer));

  /// Whether `size` more bytes (1 … kMaxChunk) fit as one more chunk. An empty builder takes any chunk.
  bool fits(std::size_t size) const;
  void add(const ChunkId& id, ByteSpan data);  ///< needs fits(data.size()); `id` must be hash_of(data)

  bool empty() const { return entries_.empty(); }
  std::size_t raw_size() const { return raw_.size(); }
  FrameKind kind() const { return kind_; }
  const std::vector<DecodedFrame::Entry>& entries() const { return entries_; }
  ByteSpan raw() const { return raw_.bytes(); }
  void clear();  ///< gives the memory back, too

  /// The container: zstd where that saves at least 1/64 of the data, else raw; machine code has its branches converted
  /// first. Needs !empty().
  /// The same chunks in the same order, level and zstd version give the same bytes.
  FrameBuffer encode(Compressor& compressor) const;

 private:
  FrameKind kind_;
  std::shared_ptr<FrameBuffers> buffers_;
  std::vector<DecodedFrame::Entry> entries_;
  FrameBuffer raw_;
};

}  // namespace stellarium::cas
