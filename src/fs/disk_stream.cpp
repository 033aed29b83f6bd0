#include "fs/disk_stream.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <string>

#include "fs/tinyvol.h"

namespace stellarium::fs {
namespace {

constexpr std::string_view kDiskMagic{"STLRDISK", 8};
constexpr std::uint32_t kDiskVersion = 1;
constexpr std::size_t kDiskHeader = 24, kRunHead = 16;

tl::unexpected<Error> bad_stream(const std::string& what) {
  return fail(Errc::corrupt, "disk stream: " + what);
}

/// Whether bytes from `offset` on are whole blocks of the disk.
bool are_blocks(std::uint64_t size, std::uint64_t offset, std::uint64_t length) {
  return offset % kVolumeBlock == 0 && offset < size && length > 0 && length <= kMaxDiskRun &&
         length <= size - offset && (length % kVolumeBlock == 0 || offset + length == size);
}

/// Fills `out` unless the input ends.
Result<std::size_t> fill(ByteInput& in, MutableByteSpan out) {
  std::size_t filled = 0;
  while (filled < out.size()) {
    const auto read = in.read(out.subspan(filled));
    if (!read) return fail(read.error());
    if (*read == 0) break;
    filled += *read;
  }
  return filled;
}

Result<void> fill_all(ByteInput& in, MutableByteSpan out) {
  const auto filled = fill(in, out);
  if (!filled) return fail(filled.error());
  if (*filled < out.size()) return bad_stream("ends early");
  return {};
}

}  // namespace

Result<DiskStreamWriter> DiskStreamWriter::begin(ByteOutput& out, std::uint64_t size) {
  assert(size > 0 && size <= kMaxVolumeSize);
  std::string head{kDiskMagic};
  put_le(head, kDiskVersion);
  put_le(head, std::uint32_t{0});
  put_le(head, size);
  if (auto written = out.write(as_bytes(head)); !written) return fail(written.error());
  return DiskStreamWriter{out, size};
}

Result<void> DiskStreamWriter::put_head(std::uint64_t offset, std::uint64_t length) {
  std::string head;
  put_le(head, offset);
  put_le(head, length);
  return out_->write(as_bytes(head));
}

Result<void> DiskStreamWriter::put_run(std::uint64_t offset, ByteSpan bytes) {
  if (bytes.empty()) return {};
  if (auto written = put_head(offset, bytes.size()); !written) return written;
  return out_->write(bytes);
}

Result<void> DiskStreamWriter::write(std::uint64_t offset, ByteSpan bytes) {
  assert(are_blocks(size_, offset, bytes.size()));
  std::size_t from = 0;  // of the run that is not written yet
  for (std::size_t at = 0; at < bytes.size(); at += kVolumeBlock) {
    const std::size_t end = std::min<std::size_t>(at + kVolumeBlock, bytes.size());
    if (!all_zero(bytes.subspan(at, end - at))) continue;
    if (auto written = put_run(offset + from, bytes.subspan(from, at - from)); !written) return written;
    from = end;
  }
  return put_run(offset + from, bytes.subspan(from));
}

Result<void> DiskStreamWriter::finish() {
  return put_head(size_, 0);
}

Result<DiskStreamReader> DiskStreamReader::begin(ByteInput& in) {
  std::array<std::byte, kDiskHeader> head{};
  if (auto filled = fill_all(in, head); !filled) return fail(filled.error());
  ByteReader fields{head};
  const std::string_view magic = fields.text(kDiskMagic.size());
  const auto version = fields.le<std::uint32_t>();
  const auto zero = fields.le<std::uint32_t>();
  const auto size = fields.le<std::uint64_t>();
  if (magic != kDiskMagic) return bad_stream("wrong magic");
  if (version != kDiskVersion)
    return fail(Errc::version, "disk stream of version " + std::to_string(version) + ": this program reads version " +
                                   std::to_string(kDiskVersion));
  if (zero != 0) return bad_stream("unknown flags");
  if (size == 0 || size > kMaxVolumeSize) return bad_stream("a disk of " + std::to_string(size) + " bytes");
  return DiskStreamReader{in, size};
}

Result<std::optional<DiskStreamReader::Run>> DiskStreamReader::next() {
  std::array<std::byte, kRunHead> head{};
  if (auto filled = fill_all(*in_, head); !filled) return fail(filled.error());
  ByteReader fields{head};
  const auto offset = fields.le<std::uint64_t>(), length = fields.le<std::uint64_t>();
  if (length == 0) {
    if (offset != size_) return bad_stream("ends at " + std::to_string(offset));
    const auto more = fill(*in_, MutableByteSpan{head}.first(1));
    if (!more) return fail(more.error());
    if (*more != 0) return bad_stream("goes on behind its end");
    return std::nullopt;
  }
  if (!are_blocks(size_, offset, length) || offset < reached_)
    return bad_stream("a run of " + std::to_string(length) + " bytes at " + std::to_string(offset));
  buffer_.resize(length);
  if (auto filled = fill_all(*in_, buffer_); !filled) return fail(filled.error());
  reached_ = offset + length;
  return Run{offset, buffer_};
}

}  // namespace stellarium::fs
