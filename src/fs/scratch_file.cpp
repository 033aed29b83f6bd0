#include "fs/scratch_file.h"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/io.h"

namespace stellarium::fs {
namespace {

constexpr std::size_t kLengthSize = 4;  // what frames a record
constexpr std::size_t kWriteSize = 1u << 20;

}  // namespace

ScratchFile::ScratchFile(std::filesystem::path dir, std::size_t memory) : dir_{std::move(dir)}, memory_{memory} {}

std::size_t ScratchFile::limit() const {
  return fd_ ? kWriteSize : memory_;
}

Result<std::uint64_t> ScratchFile::append(std::string_view record) {
  const std::uint64_t begin = size();
  const std::size_t needed = kLengthSize + record.size();
  if (used_ + needed > limit()) {
    if (const Result<void> flushed = flush(); !flushed) return fail(flushed.error());
  }
  std::array<std::byte, kLengthSize> length;
  store_le<std::uint32_t>(length.data(), static_cast<std::uint32_t>(record.size()));
  if (needed > limit()) {
    if (const Result<void> written = write(length); !written) return fail(written.error());
    if (const Result<void> written = write(as_bytes(record)); !written) return fail(written.error());
    return begin;
  }
  if (buffer_.size() == 0) buffer_ = LargeBytes{limit()};
  std::byte* const at = buffer_.data() + used_;
  std::memcpy(at, length.data(), length.size());
  std::memcpy(at + length.size(), record.data(), record.size());
  used_ += needed;
  return begin;
}

Result<void> ScratchFile::flush() {
  if (!fd_) {
    Result<UniqueFd> fd = system_io().open(AT_FDCWD, dir_.string(), O_TMPFILE | O_RDWR, 0600);
    if (!fd) return fail(fd.error(), "making a scratch file");
    fd_ = std::move(*fd);
    if (const Result<void> written = write(buffered()); !written) return written;
    buffer_ = {};  // the next one is smaller
  } else if (const Result<void> written = write(buffered()); !written) {
    return written;
  }
  used_ = 0;
  return {};
}

Result<void> ScratchFile::write(ByteSpan bytes) {
  if (const Result<void> written = system_io().write_at(fd_.get(), bytes, written_); !written)
    return fail(written.error(), "scratch file in " + dir_.string());
  written_ += bytes.size();
  return {};
}

Result<void> ScratchFile::read(std::uint64_t offset, char* out, std::size_t size) const {
  if (offset < written_) {
    const std::size_t in_file = static_cast<std::size_t>(std::min<std::uint64_t>(size, written_ - offset));
    const Result<std::size_t> got =
        system_io().read_at(fd_.get(), std::as_writable_bytes(std::span{out, in_file}), offset);
    if (!got) return fail(got.error(), "scratch file in " + dir_.string());
    if (*got != in_file) return fail(Errc::io, "scratch file in " + dir_.string() + " became shorter");
    offset += in_file;
    out += in_file;
    size -= in_file;
  }
  if (size > 0) std::memcpy(out, buffered().data() + (offset - written_), size);
  return {};
}

Result<std::string> ScratchFile::record_at(std::uint64_t offset) const {
  char length[kLengthSize];
  if (const Result<void> got = read(offset, length, sizeof length); !got) return fail(got.error());
  std::string record(load_le<std::uint32_t>(length), '\0');
  if (const Result<void> got = read(offset + kLengthSize, record.data(), record.size()); !got) return fail(got.error());
  return record;
}

Result<cas::Hash> ScratchFile::fingerprint() const {
  cas::Hasher hasher;
  std::string piece;
  for (std::uint64_t at = 0; at < written_; at += piece.size()) {
    piece.resize(static_cast<std::size_t>(std::min<std::uint64_t>(kWriteSize, written_ - at)));
    if (const Result<void> got = read(at, piece.data(), piece.size()); !got) return fail(got.error());
    hasher.update(as_bytes(piece));
  }
  hasher.update(buffered());
  return hasher.finish();
}

ScratchFile::Reader::Reader(const ScratchFile& file, std::uint64_t begin, std::uint64_t end, std::size_t buffer)
    : file_{&file}, next_{begin}, end_{end}, buffer_size_{buffer} {}

// Makes `wanted` bytes available from at_ on.
Result<void> ScratchFile::Reader::fill(std::size_t wanted) {
  const std::size_t have = buffer_.size() - at_;
  if (have >= wanted) return {};
  buffer_.erase(0, at_);
  at_ = 0;
  const std::uint64_t rest = std::min(end_, file_->size()) - next_;
  const std::size_t more =
      static_cast<std::size_t>(std::min<std::uint64_t>(rest, std::max(wanted, buffer_size_) - have));
  buffer_.resize(have + more);
  if (const Result<void> got = file_->read(next_, buffer_.data() + have, more); !got) return got;
  next_ += more;
  return {};
}

Result<std::optional<std::string_view>> ScratchFile::Reader::next() {
  if (at_ == buffer_.size() && next_ >= std::min(end_, file_->size())) return std::nullopt;
  if (const Result<void> filled = fill(kLengthSize); !filled) return fail(filled.error());
  const std::size_t size = load_le<std::uint32_t>(buffer_.data() + at_);
  if (const Result<void> filled = fill(kLengthSize + size); !filled) return fail(filled.error());
  const std::string_view record{buffer_.data() + at_ + kLengthSize, size};
  at_ += kLengthSize + size;
  return record;
}

}  // namespace stellarium::fs
