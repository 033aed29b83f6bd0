#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/mutex.h"
#include "base/result.h"
#include "cas/database.h"

namespace stellarium::cas {

/// A segment's life. A record exists before its file is made and until its file is gone, so a file without a record
/// belongs to a newer database than this one and is never removed.
enum class SegmentState : std::uint8_t {
  open = 1,       ///< may be appended to; what lies above the durable size is not part of the store
  finished = 2,   ///< has its footer
  condemned = 3,  ///< nothing refers to it; its file is being removed
};

struct SegmentRecord {
  SegmentState state = SegmentState::open;
  std::uint64_t durable_size = 0;  ///< bytes known to be on disk; of a finished segment: where the footer begins
  std::uint32_t containers = 0;    ///< that are not freed
  std::uint32_t chunks = 0;        ///< in them
  std::uint64_t raw_bytes = 0;     ///< of them
  std::uint64_t freed_bytes = 0;   ///< given back to the file system by punching holes
  bool operator==(const SegmentRecord&) const = default;
};

std::string encode_segment_record(const SegmentRecord& record);
[[nodiscard]] Result<SegmentRecord> decode_segment_record(std::string_view value);

/// Segment number → record, in the family `segment`, with a copy in memory (about 100 bytes a segment).
///
/// A change is staged into a batch, and applied to the copy once that batch was written.
/// Threads: all functions may be called concurrently.
class SegmentTable {
 public:
  /// Reads all records. Errors: corrupt, version, io.
  [[nodiscard]] Result<void> load(const Database& database) EXCLUDES(mutex_);

  static void stage(Database::Batch& batch, std::uint32_t number, const SegmentRecord& record);
  static void stage_removal(Database::Batch& batch, std::uint32_t number);
  void apply(std::uint32_t number, const SegmentRecord& record) EXCLUDES(mutex_);
  void apply_removal(std::uint32_t number) EXCLUDES(mutex_);

  std::optional<SegmentRecord> find(std::uint32_t number) const EXCLUDES(mutex_);
  std::map<std::uint32_t, SegmentRecord> all() const EXCLUDES(mutex_);

 private:
  mutable Mutex mutex_;
  std::map<std::uint32_t, SegmentRecord> records_ GUARDED_BY(mutex_);
};

}  // namespace stellarium::cas
