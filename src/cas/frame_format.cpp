#include "cas/frame_format.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>
#include <string_view>
#include <utility>

#include "cas/branch_filter.h"
#include "cas/format_error.h"
#include "cas/recipe.h"  // kMaxChunk

namespace stellarium::cas {
namespace {

constexpr std::string_view kMagic = "STLRPACK";
constexpr std::uint16_t kVersion = 1;
constexpr std::size_t kChecksummed = 32;  // bytes of the header before its checksum
static_assert(kChecksummed + Hash::kSize == kFrameHeaderSize);

// zstd must save at least this part of the data, or reading it raw is the better bargain.
constexpr std::size_t kLeastSaving = 64;
constexpr std::size_t kLeastBranchesPerKib = 4;  // of what is taken for machine code

tl::unexpected<Error> corrupt(std::string what) {
  return fail(Errc::corrupt, "container: " + std::move(what));
}

Hash checksum_of(ByteSpan header, ByteSpan index) {
  Hasher hasher;
  hasher.update(header.first(kChecksummed));
  hasher.update(index);
  return hasher.finish();
}

/// The sizes that a header may state, given its kind and codec.
Result<void> check_sizes(const FrameHeader& header) {
  if (header.kind == FrameKind::freed) {
    if (header.codec != Codec::raw || header.count != 0 || header.raw_size != 0)
      return corrupt("a freed one states chunks");
    if (header.container_size() > kMaxContainer)
      return corrupt("a freed one of " + std::to_string(header.container_size()) + " bytes");
    return {};
  }
  if (header.count == 0 || header.count > kMaxFrameEntries)
    return corrupt("states " + std::to_string(header.count) + " chunks");
  if (header.raw_size < header.count || header.raw_size > max_raw_size(header.kind))
    return corrupt("states " + std::to_string(header.raw_size) + " bytes of data");
  if (header.codec == Codec::raw && header.stored_size != header.raw_size)
    return corrupt(expected_found("stored size of raw data", header.raw_size, header.stored_size));
  if (header.codec != Codec::raw && (header.stored_size == 0 || header.stored_size >= header.raw_size))
    return corrupt("states " + std::to_string(header.raw_size) + " bytes compressed to " +
                   std::to_string(header.stored_size));
  return {};
}

std::array<std::byte, kFrameHeaderSize> encode_header(const FrameHeader& header, ByteSpan index) {
  std::string fields{kMagic};
  put_le(fields, kVersion);
  put_le(fields, static_cast<std::uint8_t>(header.kind));
  put_le(fields, static_cast<std::uint8_t>(header.codec));
  put_le(fields, header.count);
  put_le(fields, header.raw_size);
  put_le(fields, header.stored_size);
  put_le(fields, std::uint64_t{0});
  assert(fields.size() == kChecksummed);

  std::array<std::byte, kFrameHeaderSize> bytes;
  std::ranges::copy(as_bytes(fields), bytes.begin());
  std::ranges::copy(checksum_of(as_bytes(fields), index).span(), bytes.begin() + kChecksummed);
  return bytes;
}

std::string encode_index(std::span<const DecodedFrame::Entry> entries) {
  std::string index;
  index.reserve(entries.size() * kFrameEntrySize);
  for (const DecodedFrame::Entry& entry : entries) {
    put_bytes(index, entry.id.span());
    put_le(index, entry.offset);
    put_le(index, static_cast<std::uint16_t>(entry.size - 1));
    put_le(index, std::uint16_t{0});  // flags
  }
  return index;
}

/// Reads `count` entries and checks that they cover the data without gap or overlap.
Result<std::vector<DecodedFrame::Entry>> parse_entries(ByteSpan index, const FrameHeader& header) {
  std::vector<DecodedFrame::Entry> entries;
  entries.reserve(header.count);
  ByteReader reader{index};
  std::uint32_t end = 0;
  for (std::uint32_t i = 0; i < header.count; ++i) {
    const DecodedFrame::Entry entry{.id = Hash::from_bytes(reader.take(Hash::kSize)).value(),
                                    .offset = reader.le<std::uint32_t>(),
                                    .size = reader.le<std::uint16_t>() + 1u};
    const auto flags = reader.le<std::uint16_t>();
    if (entry.offset != end) return corrupt(expected_found("offset of chunk " + std::to_string(i), end, entry.offset));
    if (flags != 0) return corrupt(expected_found("flags of chunk " + std::to_string(i), 0, flags));
    end += entry.size;  // at most 1024 times 64 KiB
    entries.push_back(entry);
  }
  if (end != header.raw_size) return corrupt(expected_found("bytes of all chunks", header.raw_size, end));
  return entries;
}

}  // namespace

std::size_t max_raw_size(FrameKind kind) {
  switch (kind) {
    case FrameKind::chunks:
    case FrameKind::recipe:
      return kMaxFrameRaw;
    case FrameKind::pack:
      return kMaxPackRaw;
    case FrameKind::freed:
      return 0;
  }
  return 0;
}

Result<FrameHeader> parse_frame_header(ByteSpan bytes) {
  ByteReader reader{bytes};
  const std::string_view magic = reader.text(kMagic.size());
  const auto version = reader.le<std::uint16_t>();
  const FrameHeader header{.kind = FrameKind{reader.le<std::uint8_t>()},
                           .codec = Codec{reader.le<std::uint8_t>()},
                           .count = reader.le<std::uint32_t>(),
                           .raw_size = reader.le<std::uint32_t>(),
                           .stored_size = reader.le<std::uint32_t>()};
  const auto reserved = reader.le<std::uint64_t>();
  reader.take(Hash::kSize);
  if (!reader.ok()) return corrupt(expected_found("bytes of the header", kFrameHeaderSize, bytes.size()));
  if (magic != kMagic) return corrupt("wrong magic");
  if (version != kVersion) return fail(Errc::version, "container: " + expected_found("version", kVersion, version));
  if (header.kind < FrameKind::chunks || header.kind > FrameKind::freed)
    return corrupt("unknown kind " + std::to_string(static_cast<unsigned>(header.kind)));
  if (header.codec > kLastCodec) return corrupt("unknown codec " + std::to_string(static_cast<unsigned>(header.codec)));
  if (reserved != 0) return corrupt("reserved bytes are not zero");
  if (auto sizes = check_sizes(header); !sizes) return fail(std::move(sizes).error());
  return header;
}

Result<FrameIndex> parse_frame_index(ByteSpan bytes) {
  const Result<FrameHeader> header = parse_frame_header(bytes);
  if (!header) return fail(header.error());
  const std::size_t needed = kFrameHeaderSize + header->index_size();
  if (bytes.size() < needed) return corrupt(expected_found("bytes of header and index", needed, bytes.size()));

  const ByteSpan index = bytes.subspan(kFrameHeaderSize, header->index_size());
  if (Hash::from_bytes(bytes.subspan(kChecksummed, Hash::kSize)) != checksum_of(bytes, index))
    return corrupt("header and index do not match their checksum");
  auto entries = parse_entries(index, *header);
  if (!entries) return fail(std::move(entries).error());
  return FrameIndex{*header, *std::move(entries)};
}

Result<FrameView> parse_frame(ByteSpan bytes) {
  Result<FrameIndex> index = parse_frame_index(bytes);
  if (!index) return fail(std::move(index).error());
  const FrameHeader& header = index->header;
  if (bytes.size() != header.container_size())
    return corrupt(expected_found("bytes", header.container_size(), bytes.size()));
  if (header.kind == FrameKind::freed) return fail(Errc::not_found, "container: it was freed");
  const ByteSpan stored = bytes.last(header.stored_size);
  return FrameView{*std::move(index), stored};
}

Result<DecodedFrame> decode_frame(const FrameView& view, Decompressor& decompressor, FrameBuffers* memory) {
  DecodedFrame frame;
  const Codec codec = view.index.header.codec;
  const std::size_t size = view.index.header.raw_size;
  frame.bytes = memory != nullptr ? memory->take(size) : FrameBuffer{size};
  if (codec == Codec::raw) {
    std::memcpy(frame.bytes.data(), view.stored.data(), view.stored.size());
  } else {
    if (auto done = decompressor.decompress(view.stored, frame.bytes.bytes()); !done)
      return fail(std::move(done).error(), "container: data");
    if (codec == Codec::zstd_x86) restore_branches(frame.bytes.bytes());
  }
  frame.entries = view.index.entries;
  for (const DecodedFrame::Entry& entry : frame.entries)
    if (const Hash found = hash_of(frame.data(entry)); found != entry.id)
      return corrupt("chunk at " + std::to_string(entry.offset) + ": expected id " + entry.id.hex() + ", found " +
                     found.hex());
  return frame;
}

std::vector<std::byte> encode_freed_header(std::size_t container_size) {
  assert(container_size >= kFrameHeaderSize && container_size <= kMaxContainer);
  const FrameHeader header{.kind = FrameKind::freed,
                           .codec = Codec::raw,
                           .count = 0,
                           .raw_size = 0,
                           .stored_size = static_cast<std::uint32_t>(container_size - kFrameHeaderSize)};
  const auto bytes = encode_header(header, {});
  return {bytes.begin(), bytes.end()};
}

FrameBuilder::FrameBuilder(FrameKind kind, std::shared_ptr<FrameBuffers> buffers)
    : kind_{kind}, buffers_{std::move(buffers)} {
  assert(kind != FrameKind::freed);
}

bool FrameBuilder::fits(std::size_t size) const {
  return entries_.size() < kMaxFrameEntries && size <= max_raw_size(kind_) - raw_.size();
}

void FrameBuilder::add(const ChunkId& id, ByteSpan data) {
  assert(!data.empty() && data.size() <= kMaxChunk && fits(data.size()));
  if (!raw_) raw_ = buffers_->take();
  entries_.push_back({id, static_cast<std::uint32_t>(raw_.size()), static_cast<std::uint32_t>(data.size())});
  raw_.append(data);
}

void FrameBuilder::clear() {
  entries_.clear();
  raw_ = FrameBuffer{};
}

FrameBuffer FrameBuilder::encode(Compressor& compressor) const {
  assert(!empty());
  const std::string index = encode_index(entries_);
  const std::size_t data_at = kFrameHeaderSize + index.size();
  FrameBuffer container = buffers_->take();
  container.resize(data_at + raw_.size());
  const MutableByteSpan data = container.bytes().subspan(data_at);

  // Whether this is machine code is only a guess about size; no reader depends on it.
  FrameBuffer converted = buffers_->take();
  converted.append(raw());
  const bool code = convert_branches(converted.bytes()) * 1024 >= raw_.size() * kLeastBranchesPerKib;
  const Codec codec = code ? Codec::zstd_x86 : Codec::zstd;
  const std::size_t most = raw_.size() - std::max<std::size_t>(1, raw_.size() / kLeastSaving);
  const std::optional<std::size_t> compressed =
      compressor.compress(code ? std::as_const(converted).bytes() : raw(), data.first(most));
  if (!compressed) std::ranges::copy(raw(), data.begin());
  container.resize(data_at + compressed.value_or(raw_.size()));

  const FrameHeader header{.kind = kind_,
                           .codec = compressed ? codec : Codec::raw,
                           .count = static_cast<std::uint32_t>(entries_.size()),
                           .raw_size = static_cast<std::uint32_t>(raw_.size()),
                           .stored_size = static_cast<std::uint32_t>(container.size() - data_at)};
  std::ranges::copy(encode_header(header, as_bytes(index)), container.bytes().begin());
  std::ranges::copy(as_bytes(index), container.bytes().begin() + kFrameHeaderSize);
  return container;
}

}  // namespace stellarium::cas
