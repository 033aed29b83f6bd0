#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/io.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "cas/segment_format.h"

namespace stellarium::cas {

/// Reads one segment file, finished or not, with pread only: in a mapping a disk error or a truncation is a SIGBUS.
///
/// Threads: all const functions may be called concurrently, also while a SegmentWriter appends to the same file.
/// Errors:  corrupt and version as in frame_format.h, with segment and offset; io.
/// Borrows: `io` for as long as it lives.
class SegmentReader {
 public:
  /// Opens `number` in the folder `dir` and checks its header. Errors also: not_found.
  static Result<SegmentReader> open(Io& io, int dir, std::uint32_t number, const StoreId& store);

  /// Reads the container at `offset` into `buffer` (its old contents are lost; reuse it to save allocations) and parses
  /// it. The view borrows `buffer`. Errors also: not_found (it was freed: look its chunks up again).
  /// Cost: one pread of 128 KiB, a second one if the container is larger.
  [[nodiscard]] Result<FrameView> read(std::uint64_t offset, std::vector<std::byte>& buffer) const;

  /// Header and index of the container at `offset`, without its data; freed ones too (no entries).
  [[nodiscard]] Result<FrameIndex> read_index(std::uint64_t offset) const;

  /// The footer's list. Errors also: not_found (never finished).
  [[nodiscard]] Result<std::vector<SegmentEntry>> footer() const;

  /// What a walk from the first container on found.
  struct Walk {
    std::vector<SegmentEntry> entries;
    std::uint64_t end;            ///< after the last whole container
    std::optional<Error> damage;  ///< why the walk ended before `limit`; none if it got there
  };
  /// Follows the containers up to `limit` bytes (the durable size, or size()) without the footer; checks header and
  /// index of each, not the data. A container that reaches over `limit` is damage.
  [[nodiscard]] Result<Walk> walk(std::uint64_t limit) const;

  [[nodiscard]] Result<std::uint64_t> size() const;  ///< of the file now
  std::uint32_t number() const { return number_; }
  int fd() const { return file_.get(); }

 private:
  SegmentReader(Io& io, UniqueFd file, std::uint32_t number);
  Error in_segment(Error error, std::uint64_t offset) const;

  Io* io_;
  UniqueFd file_;
  std::uint32_t number_;
};

}  // namespace stellarium::cas
