#include "fs/staged_reading.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <vector>

#include "base/io.h"
#include "fs/program.h"

namespace stellarium::fs {
namespace {

constexpr std::size_t kPiece = 256u << 10;

/// One file's way into a session, extent by extent.
class StagedReading {
 public:
  StagedReading(int fd, std::uint64_t size, std::uint32_t mode, cas::WriteSession& session,
                std::vector<std::byte>& buffer, const std::function<bool()>& go_on)
      : fd_{fd}, size_{size}, mode_{mode}, session_{session}, buffer_{buffer}, go_on_{go_on} {
    buffer_.resize(kPiece);
  }

  Result<SettledBody> run() {
    if (auto read = size_ <= kMaxInlineContent ? small() : extents(); !read) return fail(read.error());
    return std::move(body_);
  }

 private:
  Result<void> small() {
    body_.size = body_.allocated = size_;
    if (size_ == 0) return {};
    const Result<std::size_t> read = piece(0, size_);
    if (!read) return fail(read.error());
    body_.body = Body::inline_;
    body_.inline_bytes = as_text(ByteSpan{buffer_}.first(static_cast<std::size_t>(size_)));
    body_.elf = is_elf(as_bytes(body_.inline_bytes));
    return {};
  }

  Result<void> extents() {
    for (std::uint64_t at = 0; at < size_;) {
      const Result<std::uint64_t> data = seek(at, SEEK_DATA);
      if (!data) return fail(data.error());
      const Result<std::uint64_t> hole = *data < size_ ? seek(*data, SEEK_HOLE) : size_;
      if (!hole) return fail(hole.error());
      if (auto put = extent(at, *data, *hole); !put) return put;
      at = *hole;
    }
    const Result<cas::ContentId> id = writer_->finish();
    if (!id) return fail(id.error());
    body_.body = Body::content;
    body_.content = *id;
    body_.size = size_;
    return {};
  }

  /// Zeros of [from, data), bytes of [data, hole).
  Result<void> extent(std::uint64_t from, std::uint64_t data, std::uint64_t hole) {
    if (!writer_ && data > 0) begin({});
    if (data > from)
      if (auto put = writer_->append_zeros(data - from); !put) return put;
    for (std::uint64_t at = data; at < hole;) {
      const Result<std::size_t> read = piece(at, hole);
      if (!read) return fail(read.error());
      const ByteSpan bytes = ByteSpan{buffer_}.first(*read);
      if (!writer_) begin(bytes);
      if (auto put = writer_->append(bytes); !put) return put;
      at += bytes.size();
      body_.allocated += bytes.size();
    }
    return {};
  }

  void begin(ByteSpan start) {
    body_.elf = is_elf(start);
    writer_ = session_.begin(is_program(mode_, start) ? cas::Placement::program : cas::Placement::data);
  }

  /// A full piece, or what is left of [at, end).
  Result<std::size_t> piece(std::uint64_t at, std::uint64_t end) {
    if (!go_on_()) return fail(Errc::cancelled, "stopped");
    const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(kPiece, end - at));
    const Result<std::size_t> read = system_io().read_at(fd_, MutableByteSpan{buffer_}.first(wanted), at);
    if (!read) return fail(read.error());
    if (*read != wanted) return fail(Errc::busy, "it became shorter while it was read");
    return wanted;
  }

  Result<std::uint64_t> seek(std::uint64_t from, int whence) const {
    const off_t found = ::lseek(fd_, static_cast<off_t>(from), whence);
    if (found >= 0) return std::min(static_cast<std::uint64_t>(found), size_);
    if (errno == ENXIO) return size_;  // nothing but a hole behind it
    return fail_errno("looking for holes");
  }

  const int fd_;
  const std::uint64_t size_;
  const std::uint32_t mode_;
  cas::WriteSession& session_;
  std::vector<std::byte>& buffer_;
  const std::function<bool()>& go_on_;
  std::unique_ptr<cas::ContentWriter> writer_;
  SettledBody body_;
};

}  // namespace

Result<SettledBody> read_staged(int fd, std::uint64_t size, std::uint32_t mode, cas::WriteSession& session,
                                std::vector<std::byte>& buffer, const std::function<bool()>& go_on) {
  return StagedReading{fd, size, mode, session, buffer, go_on}.run();
}

}  // namespace stellarium::fs
