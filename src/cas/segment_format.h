#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "cas/frame_format.h"

// Segment files (docs/formats/segment.md): a header, containers back to back, and once finished a footer listing them.
namespace stellarium::cas {

inline constexpr std::size_t kSegmentHeaderSize = 64;
inline constexpr std::size_t kSegmentTrailerSize = 64;
inline constexpr std::size_t kFooterEntrySize = 16;
inline constexpr std::uint64_t kMaxSegmentSize = 0xffff'ffff;  ///< offsets in a segment have 32 bits

/// Which store a segment belongs to: the uuid in the store's `format` file.
using StoreId = std::array<std::byte, 16>;

/// "NNNNNNNN.seg": eight digits, more from 100,000,000 on.
std::string segment_name(std::uint32_t number);
/// The segment, in messages.
std::string segment_text(std::uint32_t number);
/// The number in a name that segment_name gave; nothing for any other.
std::optional<std::uint32_t> segment_number(std::string_view name);

/// One container as the footer describes it, and as a walk finds it.
struct SegmentEntry {
  std::uint32_t offset;    ///< of the container, from the start of the file
  std::uint32_t size;      ///< of the whole container
  std::uint32_t raw_size;  ///< of its data, uncompressed
  std::uint16_t count;     ///< of its chunks
  FrameKind kind;          ///< when it was written; it may have been freed since
  Codec codec;

  std::uint64_t end() const { return std::uint64_t{offset} + size; }
  bool operator==(const SegmentEntry&) const = default;
};
SegmentEntry describe(const FrameHeader& header, std::uint32_t offset);

std::vector<std::byte> encode_segment_header(std::uint32_t number, const StoreId& store);
/// Errors: corrupt (also: another number or store than expected), version.
[[nodiscard]] Result<void> check_segment_header(ByteSpan bytes, std::uint32_t number, const StoreId& store);

/// Entries and trailer. The entries must be back to back from kSegmentHeaderSize on.
std::vector<std::byte> encode_segment_footer(std::span<const SegmentEntry> entries);

/// What the last 64 bytes of a finished segment say, in shape only: the checksum needs the entries too.
struct SegmentTrailer {
  std::uint64_t footer_offset;  ///< where the containers end and the entries begin
  std::uint32_t count;          ///< of entries
  std::uint64_t footer_size() const { return std::uint64_t{count} * kFooterEntrySize + kSegmentTrailerSize; }
};
/// Errors: not_found (no footer magic there: the segment was never finished), corrupt, version.
[[nodiscard]] Result<SegmentTrailer> parse_segment_trailer(ByteSpan bytes, std::uint64_t file_size);
/// Takes the whole footer, entries and trailer. Refuses entries that leave a gap, overlap, or do not end where the
/// footer begins.
[[nodiscard]] Result<std::vector<SegmentEntry>> parse_segment_footer(ByteSpan bytes, std::uint64_t file_size);

}  // namespace stellarium::cas
