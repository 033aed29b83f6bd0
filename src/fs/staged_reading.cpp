#include "fs/staged_reading.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <vector>

#include "base/io.h"
#include "fs/body_reading.h"
#include "fs/places.h"
#include "fs/program.h"

namespace stellarium::fs {
namespace {

constexpr std::size_t kPiece = 256u << 10;

/// One file's way into a session, extent by extent.
class StagedReading {
 public:
  StagedReading(const StagedSource& source, tier::Tier& tier, cas::WriteSession& session,
                std::vector<std::byte>& buffer, const std::function<bool()>& go_on)
      : source_{source}, tier_{tier}, session_{session}, buffer_{buffer}, go_on_{go_on} {
    buffer_.resize(kPiece);
  }

  Result<SettledBody> run() {
    if (auto read = source_.size <= kMaxInlineContent ? small() : extents(); !read) return fail(read.error());
    return std::move(body_);
  }

 private:
  Result<void> small() {
    body_.size = body_.allocated = source_.size;
    if (source_.size == 0) return {};
    const Result<std::size_t> read = piece(0, source_.size);
    if (!read) return fail(read.error());
    body_.body = Body::inline_;
    body_.inline_bytes = as_text(ByteSpan{buffer_}.first(static_cast<std::size_t>(source_.size)));
    body_.elf = is_elf(as_bytes(body_.inline_bytes));
    return {};
  }

  Result<void> extents() {
    const std::uint64_t shown = std::min(source_.base.shows, source_.size);
    if (auto put = over_base(shown); !put) return put;
    for (std::uint64_t at = shown; at < source_.size;) {
      const Result<std::uint64_t> data = seek(at, SEEK_DATA);
      if (!data) return fail(data.error());
      const Result<std::uint64_t> hole = *data < source_.size ? seek(*data, SEEK_HOLE) : source_.size;
      if (!hole) return fail(hole.error());
      if (auto put = extent(at, *data, *hole); !put) return put;
      at = *hole;
    }
    const Result<cas::ContentId> id = writer_->finish();
    if (!id) return fail(id.error());
    body_.body = Body::content;
    body_.content = *id;
    body_.size = source_.size;
    return {};
  }

  /// The first bytes, some of which are the base's: its holes stay holes.
  Result<void> over_base(std::uint64_t end) {
    for (std::uint64_t at = 0; at < end;) {
      const Result<std::size_t> read = piece(at, end);
      if (!read) return fail(read.error());
      const ByteSpan bytes = ByteSpan{buffer_}.first(*read);
      if (!writer_) begin(bytes);
      if (auto put = runs(bytes); !put) return put;
      at += bytes.size();
    }
    return {};
  }

  /// Appends bytes, places of zeros as holes.
  Result<void> runs(ByteSpan bytes) {
    while (!bytes.empty()) {
      const auto place_at = [&](std::size_t at) {
        return bytes.subspan(at, std::min<std::size_t>(kPlace, bytes.size() - at));
      };
      const bool hole = all_zero(place_at(0));
      std::size_t length = place_at(0).size();
      while (length < bytes.size() && all_zero(place_at(length)) == hole) length += place_at(length).size();
      if (auto put = hole ? writer_->append_zeros(length) : writer_->append(bytes.first(length)); !put) return put;
      if (!hole) body_.allocated += length;
      bytes = bytes.subspan(length);
    }
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
    writer_ = session_.begin(is_program(source_.mode, start) ? cas::Placement::program : cas::Placement::data);
  }

  /// A full piece, or what is left of [at, end).
  Result<std::size_t> piece(std::uint64_t at, std::uint64_t end) {
    if (!go_on_()) return fail(Errc::cancelled, "stopped");
    const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(kPiece, end - at));
    const MutableByteSpan out = MutableByteSpan{buffer_}.first(wanted);
    const Result<std::size_t> read = source_.base ? read_over_base(tier_, source_.fd, source_.base, at, out)
                                                  : system_io().read_at(source_.fd, out, at);
    if (!read) return fail(read.error());
    if (*read != wanted) return fail(Errc::busy, "it became shorter while it was read");
    return wanted;
  }

  Result<std::uint64_t> seek(std::uint64_t from, int whence) const {
    const off_t found = ::lseek(source_.fd, static_cast<off_t>(from), whence);
    if (found >= 0) return std::min(static_cast<std::uint64_t>(found), source_.size);
    if (errno == ENXIO) return source_.size;  // nothing but a hole behind it
    return fail_errno("looking for holes");
  }

  const StagedSource& source_;
  tier::Tier& tier_;
  cas::WriteSession& session_;
  std::vector<std::byte>& buffer_;
  const std::function<bool()>& go_on_;
  std::unique_ptr<cas::ContentWriter> writer_;
  SettledBody body_;
};

}  // namespace

Result<SettledBody> read_staged(const StagedSource& source, tier::Tier& tier, cas::WriteSession& session,
                                std::vector<std::byte>& buffer, const std::function<bool()>& go_on) {
  return StagedReading{source, tier, session, buffer, go_on}.run();
}

}  // namespace stellarium::fs
