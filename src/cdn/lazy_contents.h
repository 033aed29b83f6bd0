#pragma once
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "base/mutex.h"
#include "base/result.h"
#include "cas/codec.h"
#include "cas/content_store.h"
#include "cas/database.h"
#include "cdn/lazy_image.h"
#include "cdn/objects.h"
#include "tier/remote_contents.h"

namespace stellarium::cdn {

/// Images that are shown before they have arrived: what somebody reads is fetched when he does, and kept.
///
/// Method:  who wants bytes waits for the frames that hold their chunks; those that lie together are one request, and
///          who wants the same frames waits for the same request. What came is checked, stored and synced, by one
///          thread, as much at a time as there is; then whoever waited reads it from the store like everything else.
///          Contents up to 4 MiB come as a whole, of larger ones 1 MiB more than was asked for.
/// Bound:   that of the reader (ObjectReader): then `unavailable`. Nothing is ever shown as zeros.
/// Trust:   none: every chunk is compared with its id; a remote that goes on sending others is asked for them
///          kMaxDistrust times.
/// Threads: all functions may be called concurrently; `done` runs on the thread that stores, or at once.
class LazyContents final : public tier::RemoteContents {
 public:
  /// Who reads from the remote of this name; may take milliseconds.
  using FindReader = std::function<Result<std::shared_ptr<ObjectReader>>(const std::string& remote)>;

  LazyContents(cas::Database& database, cas::ContentStore& store);
  ~LazyContents() override;
  LazyContents(const LazyContents&) = delete;
  LazyContents& operator=(const LazyContents&) = delete;

  /// The images that earlier servers left. Those that cannot be read are logged, and their contents are missing.
  [[nodiscard]] Result<void> open() EXCLUDES(mutex_);
  void set_readers(FindReader find) EXCLUDES(mutex_);
  /// Ends what is under way with `cancelled`, and everything that is asked for from now on.
  void stop() EXCLUDES(mutex_);

  /// An image whose layer object and index are in the store; durable on return.
  [[nodiscard]] Result<void> add(const cas::ContentId& layer, LazyRecord record) EXCLUDES(mutex_);
  /// One that is complete now, or that nothing names any more.
  [[nodiscard]] Result<void> remove(const cas::ContentId& layer) EXCLUDES(mutex_);
  using ImagePtr = std::shared_ptr<const LazyImage>;
  std::vector<ImagePtr> images() const EXCLUDES(mutex_);
  Result<std::shared_ptr<ObjectReader>> reader_of(const std::string& remote) EXCLUDES(mutex_);

  bool any() const override { return count_.load(std::memory_order_relaxed) != 0; }
  Result<cas::Recipe> recipe(const tier::ContentRef& content) override;
  bool lacks(const tier::ContentRef& content) override;
  void bring(const tier::ContentRef& content, std::uint64_t offset, std::uint64_t size, Done done) override;

  /// Whether it is no damage that the store lacks the chunk, or the recipe of the content: it can be fetched.
  bool expects(const cas::ChunkId& chunk) const;
  bool expects_recipe(const cas::ContentId& content) const;
  /// `live`, and what only these images need: gc keeps what has come of them.
  cas::ContentStore::LiveContents with_lazy(cas::ContentStore::LiveContents live) const;

  /// Since somebody last waited for another host, or began to.
  std::chrono::milliseconds quiet_for() const;

  struct Stats {
    std::uint64_t images = 0, requests = 0, bytes = 0, failures = 0, distrusted = 0;
    ObjectReader::Counters remotes;  ///< of all readers that were used, and of what `note` was told
  };
  void note(const ObjectReader::Counters& counters) EXCLUDES(mutex_);  ///< of a reader that is gone: a pull's
  /// Forgets images whose layer object is not among what `live` needs: no name, clone or mount is left that could show
  /// them. Errors: those of `live`.
  [[nodiscard]] Result<void> forget_unused(const cas::ContentStore::LiveContents& live);
  Stats stats() const EXCLUDES(mutex_);

 private:
  using Clock = std::chrono::steady_clock;
  /// One frame of one image.
  using FrameKey = std::tuple<const LazyImage*, std::uint32_t, std::uint32_t>;
  /// A request under way.
  struct Flight {
    ImagePtr image;
    std::vector<LazyImage::Place> places;
    WantedRange range;
    unsigned distrusted = 0;
    std::shared_ptr<ObjectReader> reader;  // let go by `end`: a reader must not go on its own thread
    std::vector<Done> waiting;
  };
  using FlightPtr = std::shared_ptr<Flight>;
  struct Landed {
    FlightPtr flight;
    Result<std::string> bytes;
  };
  /// What answers that come late may touch, also when this is gone.
  struct Landing {
    Mutex mutex;
    std::condition_variable changed;
    std::deque<Landed> landed GUARDED_BY(mutex);
    bool stopping GUARDED_BY(mutex) = false;
  };
  /// The frames to wait for; none if nothing is missing.
  struct Missing {
    ImagePtr image;
    LazyImage::Place place;
  };
  Result<std::vector<Missing>> missing(const tier::ContentRef& content, std::uint64_t offset, std::uint64_t size);
  std::vector<FlightPtr> new_flights(std::vector<Missing> wanted) REQUIRES(mutex_);
  void start(const FlightPtr& flight);
  void land();
  Result<void> store_batch(std::deque<Landed>& batch, std::vector<std::pair<FlightPtr, Result<void>>>& ended);
  Result<void> take(const Landed& landed, cas::WriteSession& session);
  void end(const FlightPtr& flight, const Result<void>& how) EXCLUDES(mutex_);

  cas::Database& database_;
  cas::ContentStore& store_;
  cas::Decompressor decompressor_;
  mutable Mutex mutex_;
  FindReader find_reader_ GUARDED_BY(mutex_);
  std::vector<ImagePtr> images_ GUARDED_BY(mutex_);
  std::map<FrameKey, FlightPtr> flights_ GUARDED_BY(mutex_);
  Stats stats_ GUARDED_BY(mutex_);
  mutable std::vector<std::weak_ptr<ObjectReader>> used_ GUARDED_BY(mutex_);
  bool stopped_ GUARDED_BY(mutex_) = false;
  std::atomic<std::size_t> count_{0};
  std::atomic<Clock::time_point> last_wanted_{Clock::now() - std::chrono::hours{1}};
  const std::shared_ptr<Landing> landing_ = std::make_shared<Landing>();
  std::thread lander_;  // last: uses the members above
};

}  // namespace stellarium::cdn
