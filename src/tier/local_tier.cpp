#include "tier/local_tier.h"

#include <fcntl.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <condition_variable>
#include <optional>

#include "tier/scrub.h"

namespace stellarium::tier {
namespace {

constexpr std::uint64_t kWorthAFile = 16u << 10;    // smaller ones are decoded in no time
constexpr std::uint64_t kRecipeBudget = 16u << 20;  // the maps of about 10 GB of contents

Result<std::uint64_t> default_budget(const std::filesystem::path& folder) {
  struct statvfs fs {};
  const std::filesystem::path existing = std::filesystem::exists(folder) ? folder : folder.parent_path();
  if (::statvfs(existing.empty() ? "." : existing.c_str(), &fs) != 0)
    return fail_errno("free space of " + folder.string());
  return fs.f_frsize * fs.f_bavail / 4;
}

// Runs something that answers by callback and waits for the answer.
template <typename T>
class Awaited {
 public:
  void set(Result<T> result) {
    const MutexLock lock{mutex_};
    result_ = std::move(result);
    ready_.notify_all();
  }
  Result<T> get() {
    MutexLock lock{mutex_};
    while (!result_) lock.wait(ready_);
    return std::move(*result_);
  }

 private:
  Mutex mutex_;
  std::condition_variable ready_;
  std::optional<Result<T>> result_ GUARDED_BY(mutex_);
};

}  // namespace

Result<std::unique_ptr<Tier>> Tier::open(cas::ContentStore& store, Io& io, const std::filesystem::path& hot_dir,
                                         const Options& options) {
  std::uint64_t budget = options.hot_budget;
  if (budget == 0) {
    const Result<std::uint64_t> quarter = default_budget(hot_dir);
    if (!quarter) return fail(quarter.error());
    budget = *quarter;
  }
  Result<std::unique_ptr<HotStore>> hot = HotStore::open(io, hot_dir, budget, options.private_mount);
  if (!hot) return fail(hot.error());
  return std::make_unique<LocalTier>(store, io, std::move(*hot), options);
}

LocalTier::LocalTier(cas::ContentStore& store, Io& io, std::unique_ptr<HotStore> hot, const Options& options)
    : remote_{options.remote},
      hot_{std::move(hot)},
      frames_{store, options.frame_budget},
      recipes_{store, options.remote, kRecipeBudget},
      reader_{frames_, recipes_},
      pool_{options.fill_threads},
      filler_{reader_, *hot_, io, pool_} {
  refill_pins();
}

LocalTier::~LocalTier() {
  filler_.stop();
  pool_.finish();
}

void LocalTier::refill_pins() {
  for (const ContentRef& content : hot_->pins()) {
    if (!hot_->find(content)) filler_.fill(content, [](const Result<HotFilePtr>&) {});  // its failure is logged
  }
}

std::optional<std::size_t> LocalTier::read_file(const ContentRef& content, std::uint64_t offset, MutableByteSpan out) {
  if (const auto size = hot_->read(content, offset, out)) return size;
  return filler_.read_filled(content, offset, out);
}

void LocalTier::decode_ahead(const ContentRef& content, std::uint64_t begin, std::uint64_t end) {
  if (content.size <= cas::kMaxChunk) return;
  const auto ahead = readahead_.note(content, begin, end);
  if (!ahead) return;
  pool_.submit(WorkerPool::Priority::fill,
               [this, content, ahead = *ahead] { reader_.prefetch(content, ahead.begin, ahead.end); });
}

Result<std::size_t> LocalTier::read(const ContentRef& content, std::uint64_t offset, MutableByteSpan out) {
  if (offset >= content.size) return 0;
  out = out.first(static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), content.size - offset)));
  if (const auto size = read_file(content, offset, out)) return *size;
  if (may_be_remote()) {
    const auto brought = std::make_shared<Awaited<void>>();
    remote_->bring(content, offset, out.size(), [brought](Result<void> done) { brought->set(std::move(done)); });
    if (auto done = brought->get(); !done) return fail(std::move(done).error());
  }
  if (auto done = reader_.read(content, offset, out); !done) return fail(done.error());
  decode_ahead(content, offset, offset + out.size());
  return out.size();
}

std::optional<std::size_t> LocalTier::read_if_present(const ContentRef& content, std::uint64_t offset,
                                                      MutableByteSpan out) {
  if (offset >= content.size) return 0;
  out = out.first(static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), content.size - offset)));
  if (const auto size = read_file(content, offset, out)) return size;
  if (!reader_.read_if_present(content, offset, out)) return std::nullopt;
  decode_ahead(content, offset, offset + out.size());  // a reader whose window was decoded in time stays ahead
  return out.size();
}

void LocalTier::read_async(const ContentRef& content, std::uint64_t offset, MutableByteSpan out,
                           std::function<void(Result<std::size_t>)> done) {
  auto work = [this, content, offset, out, done] { done(read(content, offset, out)); };
  if (!may_be_remote() || offset >= content.size) return pool_.submit(WorkerPool::Priority::demand, std::move(work));
  // What has to come from elsewhere is waited for outside of the pool, which others need meanwhile.
  const std::uint64_t size = std::min<std::uint64_t>(out.size(), content.size - offset);
  remote_->bring(content, offset, size, [this, work = std::move(work), done = std::move(done)](Result<void> brought) {
    if (!brought) return done(fail(std::move(brought).error()));
    pool_.submit(WorkerPool::Priority::demand, work);
  });
}

void LocalTier::make_hot(const ContentRef& content, std::function<void(Result<HotFilePtr>)> done) {
  if (!may_be_remote()) return filler_.fill(content, std::move(done));
  remote_->bring(content, 0, content.size, [this, content, done = std::move(done)](Result<void> brought) {
    if (!brought) return done(fail(std::move(brought).error()));
    filler_.fill(content, done);
  });
}

bool LocalTier::prefetch(const ContentRef& content, Place place) {
  if (hot_->find(content)) return false;
  if (lacks(content)) return false;  // only what somebody reads is fetched for him
  if (place == Place::hot_file) {
    make_hot(content, [](const Result<HotFilePtr>&) {});  // its failure is logged
    return true;
  }
  if (content.size == 0 || (content.size <= cas::kMaxChunk && frames_.find(content.id))) return false;
  pool_.submit(WorkerPool::Priority::fill, [this, content] { reader_.prefetch(content, 0, content.size); });
  return true;
}

void LocalTier::bring(const ContentRef& content, std::uint64_t offset, std::uint64_t size,
                      const std::function<void(Result<void>)>& done) {
  if (!may_be_remote() || hot_->find(content)) return done({});
  remote_->bring(content, offset, size, done);
}

void LocalTier::note_reader(const ContentRef& content) {
  if (content.size < kWorthAFile || !repeated_.again(content.id) || !hot_->has_room_to_spare()) return;
  prefetch(content, Place::hot_file);
}

Result<void> LocalTier::pin(const ContentRef& content) {
  const auto filled = std::make_shared<Awaited<HotFilePtr>>();
  make_hot(content, [filled](Result<HotFilePtr> result) { filled->set(std::move(result)); });
  const Result<HotFilePtr> file = filled->get();  // held until the pin protects it
  if (!file) return fail(file.error());
  return hot_->pin(content);
}

Result<Tier::ScrubReport> LocalTier::scrub(const cas::ContentStore::Progress& progress) {
  return scrub_hot_files(*hot_, progress);
}

Tier::Stats LocalTier::stats() {
  const HotStore::Stats hot = hot_->stats();
  const FrameCache::Stats frames = frames_.stats();
  const Filler::Stats fills = filler_.stats();
  Stats stats;
  stats.hot_files = hot.files;
  stats.hot_bytes = hot.bytes;
  stats.hot_budget = hot.budget;
  stats.pinned_files = hot.pinned_files;
  stats.pinned_bytes = hot.pinned_bytes;
  stats.frame_bytes = frames.bytes;
  stats.frame_budget = frames.budget;
  stats.hot_hits = hot.hits;
  stats.frame_hits = frames.hits;
  stats.frame_misses = frames.misses;
  stats.fills = fills.fills;
  stats.evictions = hot.evictions;
  stats.fill_failures = fills.failures;
  stats.integrity = hot_->verity() ? "fs-verity" : "scrub";
  return stats;
}

}  // namespace stellarium::tier
