#include "cas/segment_format.h"

#include <algorithm>
#include <cassert>
#include <charconv>
#include <utility>

#include "cas/format_error.h"
#include "cas/hash.h"

namespace stellarium::cas {
namespace {

constexpr std::string_view kHeaderMagic = "STLRSEGM";
constexpr std::string_view kTrailerMagic = "STLRSEGF";
constexpr std::uint32_t kSegmentVersion = 1;
constexpr std::size_t kBeforeChecksum = 32;  // bytes of header and trailer before their checksum
static_assert(kBeforeChecksum + Hash::kSize == kSegmentHeaderSize && kSegmentHeaderSize == kSegmentTrailerSize);

constexpr std::string_view kNameSuffix = ".seg";
constexpr std::size_t kNameDigits = 8;

std::vector<std::byte> to_vector(std::string_view bytes) {
  const ByteSpan span = as_bytes(bytes);
  return {span.begin(), span.end()};
}

}  // namespace

std::string segment_name(std::uint32_t number) {
  std::string digits = std::to_string(number);
  if (digits.size() < kNameDigits) digits.insert(0, kNameDigits - digits.size(), '0');
  return digits += kNameSuffix;
}

std::string segment_text(std::uint32_t number) {
  return "segment " + segment_name(number);
}

std::optional<std::uint32_t> segment_number(std::string_view name) {
  std::uint32_t number = 0;
  std::from_chars(name.data(), name.data() + name.size(), number);
  if (name != segment_name(number)) return std::nullopt;
  return number;
}

SegmentEntry describe(const FrameHeader& header, std::uint32_t offset) {
  return {.offset = offset,
          .size = static_cast<std::uint32_t>(header.container_size()),
          .raw_size = header.raw_size,
          .count = static_cast<std::uint16_t>(header.count),
          .kind = header.kind,
          .codec = header.codec};
}

std::vector<std::byte> encode_segment_header(std::uint32_t number, const StoreId& store) {
  std::string bytes{kHeaderMagic};
  put_le(bytes, kSegmentVersion);
  put_le(bytes, number);
  put_bytes(bytes, store);
  assert(bytes.size() == kBeforeChecksum);
  put_bytes(bytes, hash_of(as_bytes(bytes)).span());
  return to_vector(bytes);
}

Result<void> check_segment_header(ByteSpan bytes, std::uint32_t number, const StoreId& store) {
  ByteReader reader{bytes};
  const std::string_view magic = reader.text(kHeaderMagic.size());
  const auto version = reader.le<std::uint32_t>();
  const auto found_number = reader.le<std::uint32_t>();
  const ByteSpan found_store = reader.take(store.size());
  const ByteSpan checksum = reader.take(Hash::kSize);
  if (!reader.ok()) return fail(Errc::corrupt, expected_found("bytes of the header", kSegmentHeaderSize, bytes.size()));
  if (magic != kHeaderMagic) return fail(Errc::corrupt, "header: wrong magic");
  if (version != kSegmentVersion)
    return fail(Errc::version, "header: " + expected_found("version", kSegmentVersion, version));
  if (Hash::from_bytes(checksum) != hash_of(bytes.first(kBeforeChecksum)))
    return fail(Errc::corrupt, "header: wrong checksum");
  if (found_number != number)
    return fail(Errc::corrupt, "header: " + expected_found("segment number", number, found_number));
  if (!std::ranges::equal(found_store, store))
    return fail(Errc::corrupt, "header: the segment belongs to another store");
  return {};
}

std::vector<std::byte> encode_segment_footer(std::span<const SegmentEntry> entries) {
  std::string bytes;
  bytes.reserve(entries.size() * kFooterEntrySize + kSegmentTrailerSize);
  std::uint64_t end = kSegmentHeaderSize;
  for (const SegmentEntry& entry : entries) {
    assert(entry.offset == end);
    end = entry.end();
    put_le(bytes, entry.offset);
    put_le(bytes, entry.size);
    put_le(bytes, entry.raw_size);
    put_le(bytes, entry.count);
    put_le(bytes, static_cast<std::uint8_t>(entry.kind));
    put_le(bytes, static_cast<std::uint8_t>(entry.codec));
  }
  bytes += kTrailerMagic;
  put_le(bytes, kSegmentVersion);
  put_le(bytes, static_cast<std::uint32_t>(entries.size()));
  put_le(bytes, end);
  put_le(bytes, std::uint64_t{0});
  put_bytes(bytes, hash_of(as_bytes(bytes)).span());
  return to_vector(bytes);
}

Result<SegmentTrailer> parse_segment_trailer(ByteSpan bytes, std::uint64_t file_size) {
  if (file_size < kSegmentHeaderSize + kSegmentTrailerSize || bytes.size() < kSegmentTrailerSize)
    return fail(Errc::not_found, "footer: the file is too short to have one");
  ByteReader reader{bytes.last(kSegmentTrailerSize)};
  if (reader.text(kTrailerMagic.size()) != kTrailerMagic)
    return fail(Errc::not_found, "footer: the segment was not finished");
  const auto version = reader.le<std::uint32_t>();
  const auto count = reader.le<std::uint32_t>();
  const SegmentTrailer trailer{.footer_offset = reader.le<std::uint64_t>(), .count = count};
  const auto reserved = reader.le<std::uint64_t>();
  if (version != kSegmentVersion)
    return fail(Errc::version, "footer: " + expected_found("version", kSegmentVersion, version));
  if (reserved != 0) return fail(Errc::corrupt, "footer: reserved bytes are not zero");
  // The smallest container is a header: that bounds what a reader allocates for the list.
  const std::uint64_t least_size =
      kSegmentHeaderSize + std::uint64_t{trailer.count} * kFrameHeaderSize + trailer.footer_size();
  if (file_size < least_size || file_size > kMaxSegmentSize + trailer.footer_size() ||
      trailer.footer_offset != file_size - trailer.footer_size())
    return fail(Errc::corrupt, "footer: states " + std::to_string(trailer.count) + " containers before byte " +
                                   std::to_string(trailer.footer_offset) + " of a file of " +
                                   std::to_string(file_size));
  return trailer;
}

Result<std::vector<SegmentEntry>> parse_segment_footer(ByteSpan bytes, std::uint64_t file_size) {
  const Result<SegmentTrailer> trailer = parse_segment_trailer(bytes, file_size);
  if (!trailer) return fail(trailer.error());
  if (bytes.size() != trailer->footer_size())
    return fail(Errc::corrupt, "footer: " + expected_found("bytes", trailer->footer_size(), bytes.size()));
  if (Hash::from_bytes(bytes.last(Hash::kSize)) != hash_of(bytes.first(bytes.size() - Hash::kSize)))
    return fail(Errc::corrupt, "footer: wrong checksum");

  std::vector<SegmentEntry> entries;
  entries.reserve(trailer->count);
  ByteReader reader{bytes};
  std::uint64_t end = kSegmentHeaderSize;
  for (std::uint32_t i = 0; i < trailer->count; ++i) {
    const SegmentEntry entry{.offset = reader.le<std::uint32_t>(),
                             .size = reader.le<std::uint32_t>(),
                             .raw_size = reader.le<std::uint32_t>(),
                             .count = reader.le<std::uint16_t>(),
                             .kind = FrameKind{reader.le<std::uint8_t>()},
                             .codec = Codec{reader.le<std::uint8_t>()}};
    if (entry.offset != end)
      return fail(Errc::corrupt,
                  "footer: " + expected_found("offset of container " + std::to_string(i), end, entry.offset));
    if (entry.size < kFrameHeaderSize || entry.size > kMaxContainer || entry.kind < FrameKind::chunks ||
        entry.kind > FrameKind::freed || entry.codec > kLastCodec || entry.count > kMaxFrameEntries ||
        entry.raw_size > max_raw_size(entry.kind))
      return fail(Errc::corrupt, "footer: container " + std::to_string(i) + " at byte " + std::to_string(entry.offset) +
                                     " is impossible");
    end = entry.end();
    entries.push_back(entry);
  }
  if (end != trailer->footer_offset)
    return fail(Errc::corrupt, "footer: " + expected_found("end of the last container", trailer->footer_offset, end));
  return entries;
}

}  // namespace stellarium::cas
