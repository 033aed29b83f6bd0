#pragma once
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/result.h"
#include "cas/chunk_source.h"
#include "cas/codec.h"
#include "cas/worker_pool.h"
#include "cdn/chunk_order.h"
#include "cdn/objects.h"

namespace stellarium::cdn {

/// A container inside a bundle, and what must be in it.
struct WantedFrame {
  std::uint64_t offset = 0;  ///< in the bundle
  std::uint32_t stored = 0;  ///< bytes
  std::vector<ChunkOrder::Chunk> chunks;
};
inline constexpr std::uint64_t kMaxRange = 4u << 20;  ///< bytes of one request

/// Frames that lie back to back in one object: they are fetched at once.
struct WantedRange {
  std::string path;
  std::vector<WantedFrame> frames;
  std::uint64_t offset() const { return frames.front().offset; }
  std::uint64_t size() const { return frames.back().offset + frames.back().stored - offset(); }
};

/// A container as it came, checked: it holds exactly the chunks that were wanted, and each is what its id says.
struct FetchedFrame {
  ByteSpan container;
  std::shared_ptr<const cas::DecodedFrame> frame;
};

/// Takes `container` apart. Errors: corrupt, version.
[[nodiscard]] Result<std::shared_ptr<const cas::DecodedFrame>> decode_wanted(ByteSpan container,
                                                                             const WantedFrame& wanted,
                                                                             cas::Decompressor& decompressor);

/// Fetches ranges of bundles, several at a time, and hands out their frames in the order in which they were wanted.
///
/// Checks:  every chunk. A range that brings wrong bytes is asked for again, elsewhere, at most `kMaxDistrust` times.
/// Memory:  ranges under way, at most `most_in_flight` bytes or one range; and the decoded frames of one.
/// Errors:  those of the reader; corrupt (wrong bytes from everywhere), with the object's path.
/// Threads: one caller.
class FrameFetcher {
 public:
  static constexpr unsigned kMaxDistrust = 4;
  struct Options {
    std::uint64_t most_in_flight = 48u << 20;  ///< bytes
    unsigned parallel = 8;                     ///< ranges
    unsigned workers = 2;                      ///< threads that decode
    Urgency urgency = Urgency::soon;
  };
  FrameFetcher(ObjectReader& reader, const Options& options);
  ~FrameFetcher();

  using Take = std::function<Result<void>(const FetchedFrame&)>;
  /// Calls `take` for every frame, in order; ends with the first error.
  [[nodiscard]] Result<void> fetch(const std::vector<WantedRange>& ranges, const Take& take);

 private:
  struct Flight {
    std::optional<Result<std::string>> landed;
  };
  using FlightPtr = std::shared_ptr<Flight>;
  FlightPtr start(const WantedRange& range, unsigned distrusted);
  Result<std::string> wait_for(const FlightPtr& flight);
  Result<std::vector<std::shared_ptr<const cas::DecodedFrame>>> decode(const WantedRange& range,
                                                                       const std::string& bytes);
  Result<void> take_range(const WantedRange& range, FlightPtr flight, const Take& take);

  /// What answers that come late may touch, also when the fetcher is gone.
  struct Landing {
    Mutex mutex;
    std::condition_variable landed;
  };
  ObjectReader& reader_;
  const Options options_;
  const std::shared_ptr<Landing> landing_ = std::make_shared<Landing>();
  cas::Decompressor decompressor_;
  cas::WorkerPool workers_;
};

}  // namespace stellarium::cdn
