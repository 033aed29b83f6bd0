#pragma once
#include <cstdint>
#include <list>
#include <optional>
#include <unordered_map>

#include "base/mutex.h"
#include "tier/tier.h"

namespace stellarium::tier {

/// Notices contents that are read in order from frames, and says what to decode ahead of the reader.
///
/// Method:  a read that starts where an earlier one ended, or a little before or after it (parallel requests arrive out
/// of order),
///          is sequential; the second one in a row opens a window of two frames that stays ahead of the reader.
/// Memory:  the last kStreams contents.
/// Threads: may be called concurrently.
class Readahead {
 public:
  struct Range {
    std::uint64_t begin, end;
  };
  /// Notes a read of [begin, end); the bytes that should be decoded now, if any.
  std::optional<Range> note(const ContentRef& content, std::uint64_t begin, std::uint64_t end);

 private:
  struct Stream {
    cas::ContentId id;
    std::uint64_t next = 0;   // where the reader is
    std::uint64_t ahead = 0;  // where the last window ended
  };
  static constexpr std::size_t kStreams = 64;
  static constexpr std::uint64_t kWindow = 512u << 10;
  static constexpr std::uint64_t kSlack = 256u << 10;

  Mutex mutex_;
  std::list<Stream> streams_ GUARDED_BY(mutex_);  // latest first
  std::unordered_map<cas::ContentId, std::list<Stream>::iterator, cas::HashOfHash> index_ GUARDED_BY(mutex_);
};

}  // namespace stellarium::tier
