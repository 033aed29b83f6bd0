#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "base/io.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "cas/segment_format.h"

namespace stellarium::cas {

/// Appends containers to one segment file.
///
/// Life:    create (or resume), then any number of append and sync, then finish once. Dropping it leaves a segment
///          without footer, whose durable part can be resumed or walked.
/// Errors:  out_of_space, io. After any error the writer takes no more appends: what was not yet durable must be
///          written again, to another segment, because after a failed fdatasync nobody knows what reached the disk.
/// Threads: one at a time.
/// Borrows: `io` and `dir` (the segments folder) for as long as it lives.
class SegmentWriter {
 public:
  /// A new file with a header. Errors also: exists.
  static Result<SegmentWriter> create(Io& io, int dir, std::uint32_t number, const StoreId& store);
  /// Goes on after `durable_size` bytes of an unfinished segment; what lies behind them is cut off.
  /// Errors also: corrupt (the durable part is damaged or ends inside a container; nothing was changed then).
  static Result<SegmentWriter> resume(Io& io, int dir, std::uint32_t number, const StoreId& store,
                                      std::uint64_t durable_size);

  /// Appends one whole container (FrameBuilder::encode) and returns its offset. Not durable before sync.
  /// Errors also: out_of_space when the file would pass kMaxSegmentSize.
  [[nodiscard]] Result<std::uint32_t> append(ByteSpan container);

  /// Makes everything appended so far durable, the file's name included.
  [[nodiscard]] Result<void> sync();

  /// Writes the footer and syncs. The file then never grows again.
  [[nodiscard]] Result<void> finish();

  std::uint32_t number() const { return number_; }
  std::uint64_t size() const { return size_; }  ///< bytes appended so far, header included
  std::uint64_t durable_size() const {
    return durable_size_;
  }  ///< of them known to be on disk; 0 before the first sync
  bool failed() const { return failed_; }
  std::span<const SegmentEntry> entries() const { return entries_; }
  int fd() const { return file_.get(); }

 private:
  SegmentWriter(Io& io, int dir, UniqueFd file, std::uint32_t number);
  template <typename T>
  Result<T> noting_failure(Result<T> result);

  Io* io_;
  int dir_;
  UniqueFd file_;
  std::uint32_t number_;
  std::uint64_t size_ = 0;
  std::uint64_t durable_size_ = 0;
  std::uint64_t begun_ = 0;  // bytes that the system was asked to write already; whole blocks
  bool name_durable_ = false;
  bool failed_ = false;
  bool finished_ = false;
  std::vector<SegmentEntry> entries_;
};

/// Gives back the space of collected containers: marks each as freed, syncs once, and only then punches whole blocks
/// out of them, so that a crash never leaves a container that looks alive over a hole. Call it after the database
/// forgot their chunks. A container that is freed already is punched again, at no harm.
/// Returns the bytes punched (whole 4 KiB blocks). Errors: corrupt (no container of that size there), io.
[[nodiscard]] Result<std::uint64_t> free_containers(Io& io, int fd, std::span<const SegmentEntry> containers);

}  // namespace stellarium::cas
