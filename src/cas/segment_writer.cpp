#include "cas/segment_writer.h"

#include <fcntl.h>

#include <array>
#include <cassert>
#include <string>
#include <utility>

#include "cas/format_error.h"
#include "cas/segment_reader.h"

namespace stellarium::cas {
namespace {

constexpr mode_t kMode = 0600;
constexpr std::uint64_t kBlock = 4096;  // file systems give back whole blocks only
constexpr std::uint64_t kWriteBehind = 2u << 20;

Error in_segment(Error error, std::uint32_t number) {
  return fail(std::move(error), segment_text(number)).value();
}

}  // namespace

SegmentWriter::SegmentWriter(Io& io, int dir, UniqueFd file, std::uint32_t number)
    : io_{&io}, dir_{dir}, file_{std::move(file)}, number_{number} {}

Result<SegmentWriter> SegmentWriter::create(Io& io, int dir, std::uint32_t number, const StoreId& store) {
  Result<UniqueFd> file = io.open(dir, segment_name(number), O_RDWR | O_CREAT | O_EXCL, kMode);
  if (!file) return fail(std::move(file).error());
  SegmentWriter writer{io, dir, *std::move(file), number};
  const std::vector<std::byte> header = encode_segment_header(number, store);
  if (auto written = io.write_at(writer.fd(), header, 0); !written)
    return fail(in_segment(std::move(written).error(), number));
  writer.size_ = header.size();
  return writer;
}

Result<SegmentWriter> SegmentWriter::resume(Io& io, int dir, std::uint32_t number, const StoreId& store,
                                            std::uint64_t durable_size) {
  const Result<SegmentReader> reader = SegmentReader::open(io, dir, number, store);
  if (!reader) return fail(reader.error());
  Result<SegmentReader::Walk> walk = reader->walk(durable_size);
  if (!walk) return fail(std::move(walk).error());
  if (walk->damage) return fail(*std::move(walk->damage));

  Result<UniqueFd> file = io.open(dir, segment_name(number), O_RDWR, kMode);
  if (!file) return fail(std::move(file).error());
  SegmentWriter writer{io, dir, *std::move(file), number};
  if (auto cut = io.truncate(writer.fd(), durable_size); !cut) return fail(in_segment(std::move(cut).error(), number));
  writer.size_ = writer.durable_size_ = durable_size;
  writer.begun_ = durable_size / kBlock * kBlock;
  writer.entries_ = std::move(walk->entries);
  return writer;
}

template <typename T>
Result<T> SegmentWriter::noting_failure(Result<T> result) {
  if (result) return result;
  failed_ = true;
  return fail(in_segment(std::move(result).error(), number_));
}

Result<std::uint32_t> SegmentWriter::append(ByteSpan container) {
  assert(!failed_ && !finished_);
  const Result<FrameHeader> header = parse_frame_header(container);
  assert(header && header->container_size() == container.size());
  if (container.size() > kMaxSegmentSize - size_)
    return noting_failure<std::uint32_t>(fail(Errc::out_of_space, "has reached its largest size"));

  const auto offset = static_cast<std::uint32_t>(size_);
  if (auto written = noting_failure(io_->write_at(file_.get(), container, offset)); !written)
    return fail(std::move(written).error());
  size_ += container.size();
  if (const std::uint64_t whole_blocks = size_ / kBlock * kBlock; whole_blocks - begun_ >= kWriteBehind) {
    io_->begin_writing(file_.get(), begun_, whole_blocks - begun_);
    begun_ = whole_blocks;
  }
  entries_.push_back(describe(*header, offset));
  return offset;
}

Result<void> SegmentWriter::sync() {
  assert(!failed_ && !finished_);
  if (durable_size_ == size_ && name_durable_) return {};
  if (auto synced = noting_failure(io_->sync_data(file_.get())); !synced) return synced;
  if (!name_durable_) {
    if (auto synced = noting_failure(io_->sync(dir_)); !synced) return synced;
    name_durable_ = true;
  }
  durable_size_ = size_;
  return {};
}

Result<void> SegmentWriter::finish() {
  assert(!failed_ && !finished_);
  // The footer vouches for the containers, so they must not come to the disk after it.
  if (auto synced = sync(); !synced) return synced;
  const std::vector<std::byte> footer = encode_segment_footer(entries_);
  if (auto written = noting_failure(io_->write_at(file_.get(), footer, size_)); !written) return written;
  if (auto synced = noting_failure(io_->sync_data(file_.get())); !synced) return synced;
  finished_ = true;
  return {};
}

Result<std::uint64_t> free_containers(Io& io, int fd, std::span<const SegmentEntry> containers) {
  for (const SegmentEntry& container : containers) {
    std::array<std::byte, kFrameHeaderSize> bytes;
    const Result<std::size_t> read = io.read_at(fd, bytes, container.offset);
    if (!read) return fail(read.error());
    const Result<FrameHeader> header = parse_frame_header(ByteSpan{bytes}.first(*read));
    if (!header) return fail(header.error(), "freeing the container at byte " + std::to_string(container.offset));
    if (header->container_size() != container.size)
      return fail(Errc::corrupt, expected_found("bytes of the container at byte " + std::to_string(container.offset),
                                                container.size, header->container_size()));
    if (header->kind == FrameKind::freed) continue;
    if (auto written = io.write_at(fd, encode_freed_header(container.size), container.offset); !written)
      return fail(std::move(written).error());
  }
  if (auto synced = io.sync_data(fd); !synced) return fail(std::move(synced).error());

  std::uint64_t punched = 0;
  for (const SegmentEntry& container : containers) {
    const std::uint64_t first = (container.offset + kFrameHeaderSize + kBlock - 1) / kBlock * kBlock;
    const std::uint64_t end = container.end() / kBlock * kBlock;
    if (first >= end) continue;
    if (auto done = io.punch(fd, first, end - first); !done) return fail(std::move(done).error());
    punched += end - first;
  }
  return punched;
}

}  // namespace stellarium::cas
