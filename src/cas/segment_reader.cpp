#include "cas/segment_reader.h"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <utility>

namespace stellarium::cas {
namespace {

// More than most packs take, so that one pread is enough for them; no container costs more than two.
constexpr std::size_t kFirstRead = 48u << 10;

}  // namespace

SegmentReader::SegmentReader(Io& io, UniqueFd file, std::uint32_t number)
    : io_{&io}, file_{std::move(file)}, number_{number} {}

Result<SegmentReader> SegmentReader::open(Io& io, int dir, std::uint32_t number, const StoreId& store) {
  Result<UniqueFd> file = io.open(dir, segment_name(number), O_RDONLY, 0);
  if (!file) return fail(std::move(file).error());
  SegmentReader reader{io, *std::move(file), number};
  std::array<std::byte, kSegmentHeaderSize> header;
  const Result<std::size_t> read = io.read_at(reader.fd(), header, 0);
  if (!read) return fail(reader.in_segment(read.error(), 0));
  if (auto checked = check_segment_header(ByteSpan{header}.first(*read), number, store); !checked)
    return fail(reader.in_segment(std::move(checked).error(), 0));
  return reader;
}

Error SegmentReader::in_segment(Error error, std::uint64_t offset) const {
  return fail(std::move(error), segment_text(number_) + " at byte " + std::to_string(offset)).value();
}

Result<FrameView> SegmentReader::read(std::uint64_t offset, std::vector<std::byte>& buffer) const {
  // Growing a vector writes zeros, so a reused buffer keeps the largest size that it ever had.
  if (buffer.size() < kFirstRead) buffer.resize(kFirstRead);
  Result<std::size_t> have = io_->read_at(file_.get(), MutableByteSpan{buffer}.first(kFirstRead), offset);
  if (!have) return fail(in_segment(std::move(have).error(), offset));
  const Result<FrameHeader> header = parse_frame_header(ByteSpan{buffer}.first(*have));
  if (!header) return fail(in_segment(header.error(), offset));

  const std::size_t size = header->container_size();
  if (size > kFirstRead && *have == kFirstRead) {
    if (buffer.size() < size) buffer.resize(size);
    const MutableByteSpan rest = MutableByteSpan{buffer}.first(size).subspan(kFirstRead);
    const Result<std::size_t> more = io_->read_at(file_.get(), rest, offset + kFirstRead);
    if (!more) return fail(in_segment(more.error(), offset));
    *have += *more;
  }
  Result<FrameView> view = parse_frame(ByteSpan{buffer}.first(std::min(*have, size)));
  if (!view) return fail(in_segment(std::move(view).error(), offset));
  return view;
}

Result<FrameIndex> SegmentReader::read_index(std::uint64_t offset) const {
  constexpr std::size_t kMost = kFrameHeaderSize + kMaxFrameEntries * kFrameEntrySize;
  constexpr std::size_t kUsual = 4096;  // about a hundred entries
  std::vector<std::byte> bytes(kUsual);
  Result<std::size_t> have = io_->read_at(file_.get(), bytes, offset);
  if (!have) return fail(in_segment(std::move(have).error(), offset));
  const Result<FrameHeader> header = parse_frame_header(ByteSpan{bytes}.first(*have));
  if (!header) return fail(in_segment(header.error(), offset));
  if (kFrameHeaderSize + header->index_size() > kUsual && *have == kUsual) {
    bytes.resize(kMost);
    const Result<std::size_t> more = io_->read_at(file_.get(), MutableByteSpan{bytes}.subspan(kUsual), offset + kUsual);
    if (!more) return fail(in_segment(more.error(), offset));
    *have += *more;
  }
  Result<FrameIndex> index = parse_frame_index(ByteSpan{bytes}.first(*have));
  if (!index) return fail(in_segment(std::move(index).error(), offset));
  return index;
}

Result<std::vector<SegmentEntry>> SegmentReader::footer() const {
  const Result<std::uint64_t> file_size = size();
  if (!file_size) return fail(file_size.error());
  const std::uint64_t trailer_at = *file_size - std::min<std::uint64_t>(*file_size, kSegmentTrailerSize);

  std::array<std::byte, kSegmentTrailerSize> trailer_bytes;
  const Result<std::size_t> read = io_->read_at(file_.get(), trailer_bytes, trailer_at);
  if (!read) return fail(in_segment(read.error(), trailer_at));
  const Result<SegmentTrailer> trailer = parse_segment_trailer(ByteSpan{trailer_bytes}.first(*read), *file_size);
  if (!trailer) return fail(in_segment(trailer.error(), trailer_at));

  std::vector<std::byte> bytes(static_cast<std::size_t>(trailer->footer_size()));
  const Result<std::size_t> have = io_->read_at(file_.get(), bytes, trailer->footer_offset);
  if (!have) return fail(in_segment(have.error(), trailer->footer_offset));
  Result<std::vector<SegmentEntry>> entries = parse_segment_footer(ByteSpan{bytes}.first(*have), *file_size);
  if (!entries) return fail(in_segment(std::move(entries).error(), trailer->footer_offset));
  return entries;
}

Result<SegmentReader::Walk> SegmentReader::walk(std::uint64_t limit) const {
  const Result<std::uint64_t> file_size = size();
  if (!file_size) return fail(file_size.error());
  Walk walk{.entries = {}, .end = kSegmentHeaderSize, .damage = std::nullopt};
  const auto damaged = [&](std::string what) {
    walk.damage = in_segment(Error{.code = Errc::corrupt, .context = std::move(what)}, walk.end);
    return walk;
  };
  while (walk.end < limit) {
    if (walk.end > kMaxSegmentSize) return damaged("containers go on beyond the largest size of a segment");
    const Result<FrameIndex> index = read_index(walk.end);
    if (!index && index.error().code == Errc::io) return fail(index.error());
    if (!index) {
      walk.damage = index.error();
      return walk;
    }
    const SegmentEntry entry = describe(index->header, static_cast<std::uint32_t>(walk.end));
    if (entry.end() > std::min(limit, *file_size))
      return damaged("a container of " + std::to_string(entry.size) + " bytes goes beyond byte " +
                     std::to_string(std::min(limit, *file_size)));
    walk.end = entry.end();
    walk.entries.push_back(entry);
  }
  if (limit < kSegmentHeaderSize) return damaged("ends inside the header");
  return walk;
}

Result<std::uint64_t> SegmentReader::size() const {
  const Result<struct stat> status = io_->status(file_.get());
  if (!status) return fail(in_segment(status.error(), 0));
  return static_cast<std::uint64_t>(status->st_size);
}

}  // namespace stellarium::cas
