#include "cdn/lazy_contents.h"

#include <algorithm>
#include <unordered_set>

#include "base/log.h"
#include "cdn/families.h"

namespace stellarium::cdn {
namespace {

constexpr std::uint64_t kWhole = 4u << 20;  // bytes: contents up to this size come as a whole
constexpr std::uint64_t kAhead = 1u << 20;  // bytes behind what was asked for

/// Calls `done` when `parts` things have ended, with the first error.
class Countdown {
 public:
  Countdown(std::size_t parts, tier::RemoteContents::Done done) : left_{parts}, done_{std::move(done)} {}
  void part_ended(const Result<void>& how) EXCLUDES(mutex_) {
    bool last = false;
    {
      const MutexLock lock{mutex_};
      if (!how && !error_) error_ = how.error();
      last = --left_ == 0;
    }
    if (!last) return;
    const MutexLock lock{mutex_};  // nobody else comes any more: only to see what the others wrote
    done_(error_ ? Result<void>{fail(*error_)} : Result<void>{});
  }

 private:
  Mutex mutex_;
  std::size_t left_ GUARDED_BY(mutex_);
  std::optional<Error> error_ GUARDED_BY(mutex_);
  const tier::RemoteContents::Done done_;
};

}  // namespace

LazyContents::LazyContents(cas::Database& database, cas::ContentStore& store)
    : database_{database}, store_{store}, lander_{[this] { land(); }} {}

LazyContents::~LazyContents() {
  stop();
}

void LazyContents::stop() {
  {
    const MutexLock lock{landing_->mutex};
    landing_->stopping = true;
    landing_->changed.notify_all();
  }
  if (lander_.joinable()) lander_.join();
  std::map<FrameKey, FlightPtr> flights;
  {
    const MutexLock lock{mutex_};
    stopped_ = true;  // no more are made
    flights = flights_;
    find_reader_ = {};  // it belongs to somebody who may go now
  }
  for (const auto& [key, flight] : flights) end(flight, fail(Errc::cancelled, "the store is being closed"));
}

Result<void> LazyContents::open() {
  const auto records = read_lazy(database_);
  if (!records) return fail(records.error());
  for (const auto& [layer, record] : *records) {
    auto image = LazyImage::load(store_, layer, record);
    if (!image) {
      log::warn("a lazy image of remote {}: {}", record.remote, to_string(image.error()));
      continue;
    }
    const MutexLock lock{mutex_};
    images_.push_back(*std::move(image));
    ++count_;
  }
  return {};
}

void LazyContents::set_readers(FindReader find) {
  const MutexLock lock{mutex_};
  find_reader_ = std::move(find);
}

Result<void> LazyContents::add(const cas::ContentId& layer, LazyRecord record) {
  cas::Database::Batch batch;
  batch.put(kLazyFamily, layer.text(), encode_lazy(record));
  auto image = LazyImage::load(store_, layer, std::move(record));
  if (!image) return fail(std::move(image).error());
  if (auto written = database_.write(std::move(batch), cas::Database::Sync::yes); !written) return written;
  const MutexLock lock{mutex_};
  std::erase_if(images_, [&](const ImagePtr& present) { return present->layer() == layer; });
  images_.push_back(*std::move(image));
  count_ = images_.size();
  last_wanted_ = Clock::now();  // it was not pulled for nothing
  return {};
}

Result<void> LazyContents::remove(const cas::ContentId& layer) {
  cas::Database::Batch batch;
  batch.erase(kLazyFamily, layer.text());
  if (auto written = database_.write(std::move(batch), cas::Database::Sync::yes); !written) return written;
  const MutexLock lock{mutex_};
  std::erase_if(images_, [&](const ImagePtr& present) { return present->layer() == layer; });
  count_ = images_.size();
  return {};
}

std::vector<LazyContents::ImagePtr> LazyContents::images() const {
  const MutexLock lock{mutex_};
  return images_;
}

Result<std::shared_ptr<ObjectReader>> LazyContents::reader_of(const std::string& remote) {
  FindReader find;
  {
    const MutexLock lock{mutex_};
    find = find_reader_;
  }
  if (!find) return fail(Errc::unavailable, "remote " + remote + " cannot be reached by this server");
  auto reader = find(remote);
  if (!reader) return reader;
  const MutexLock lock{mutex_};
  std::erase_if(used_, [](const auto& used) { return used.expired(); });
  if (std::ranges::none_of(used_, [&](const auto& used) { return used.lock() == *reader; })) used_.push_back(*reader);
  return reader;
}

void LazyContents::note(const ObjectReader::Counters& counters) {
  const MutexLock lock{mutex_};
  stats_.remotes.add(counters);
}

Result<void> LazyContents::forget_unused(const cas::ContentStore::LiveContents& live) {
  if (!any()) return {};
  std::unordered_set<cas::ContentId, cas::HashOfHash> unused;
  for (const ImagePtr& image : images()) unused.insert(image->layer());
  const auto read = live([&](const cas::ContentStore::LiveContent& content) { unused.erase(content.id); });
  if (!read) return read;
  for (const cas::ContentId& layer : unused)
    if (auto removed = remove(layer); !removed) return removed;
  return {};
}

Result<cas::Recipe> LazyContents::recipe(const tier::ContentRef& content) {
  for (const ImagePtr& image : images()) {
    const cas::Recipe* const recipe = image->recipe(content.id);
    if (recipe != nullptr && recipe->size == content.size) return *recipe;
  }
  return fail(Errc::not_found, "content " + content.id.hex() + " is not in the store");
}

Result<std::vector<LazyContents::Missing>> LazyContents::missing(const tier::ContentRef& content, std::uint64_t offset,
                                                                 std::uint64_t size) {
  std::vector<Missing> wanted;
  Result<cas::Recipe> recipe = store_.recipe(content.id, content.size);
  if (recipe && content.size > cas::kMaxChunk) return wanted;  // the store has recipes of what is complete
  if (!recipe) recipe = this->recipe(content);
  if (!recipe) return fail(std::move(recipe).error());
  const auto present = images();
  const std::uint64_t begin = content.size <= kWhole ? 0 : offset;
  const std::uint64_t end = content.size <= kWhole ? content.size : std::min(content.size, offset + size + kAhead);
  std::uint64_t at = 0;
  for (const cas::Recipe::Entry& entry : recipe->entries) {
    const std::uint64_t entry_end = at + std::uint64_t{entry.size} * entry.repeat;
    const bool needed = entry_end > begin && at < end;
    at = entry_end;
    if (!needed) continue;
    const auto there = store_.has_chunk(entry.id);
    if (!there) return fail(there.error());
    if (*there) continue;
    for (const ImagePtr& image : present) {
      const auto place = image->find(entry.id);
      if (!place) continue;
      wanted.push_back({image, *place});
      break;  // where no image has it the chunk is lost, and who reads it will say so
    }
  }
  return wanted;
}

bool LazyContents::lacks(const tier::ContentRef& content) {
  const auto wanted = missing(content, 0, content.size);
  return !wanted || !wanted->empty();
}

void LazyContents::bring(const tier::ContentRef& content, std::uint64_t offset, std::uint64_t size, Done done) {
  auto wanted = missing(content, offset, size);
  if (!wanted) return done(fail(std::move(wanted).error()));
  if (wanted->empty()) return done({});
  last_wanted_ = Clock::now();
  std::vector<FlightPtr> fresh;
  bool stopped = false;
  {
    const MutexLock lock{mutex_};
    stopped = stopped_;
    std::vector<FlightPtr> all;
    std::vector<Missing> unasked;
    for (Missing& one : *wanted) {
      const auto flying = flights_.find({one.image.get(), one.place.bundle, one.place.frame});
      if (flying == flights_.end()) {
        unasked.push_back(std::move(one));
      } else if (std::ranges::find(all, flying->second) == all.end()) {
        all.push_back(flying->second);
      }
    }
    if (!stopped) {
      fresh = new_flights(std::move(unasked));
      all.insert(all.end(), fresh.begin(), fresh.end());
      const auto countdown = std::make_shared<Countdown>(all.size(), done);
      for (const FlightPtr& flight : all)
        flight->waiting.push_back([countdown](const Result<void>& how) { countdown->part_ended(how); });
    }
  }
  if (stopped) return done(fail(Errc::cancelled, "the store is being closed"));
  for (const FlightPtr& flight : fresh) start(flight);
}

std::vector<LazyContents::FlightPtr> LazyContents::new_flights(std::vector<Missing> wanted) {
  std::ranges::sort(wanted, [](const Missing& a, const Missing& b) {
    return std::tuple{a.image.get(), a.place} < std::tuple{b.image.get(), b.place};
  });
  std::vector<FlightPtr> fresh;
  for (Missing& one : wanted) {
    const FrameKey key{one.image.get(), one.place.bundle, one.place.frame};
    if (flights_.contains(key)) continue;  // several chunks of one frame
    WantedFrame frame = one.image->frame(one.place);
    Flight* const last = fresh.empty() ? nullptr : fresh.back().get();
    const bool follows =
        last != nullptr && last->image == one.image && last->places.back().bundle == one.place.bundle &&
        last->places.back().frame + 1 == one.place.frame && last->range.size() + frame.stored <= kMaxRange;
    if (!follows) {
      fresh.push_back(std::make_shared<Flight>());
      fresh.back()->image = one.image;
      fresh.back()->range.path = one.image->path(one.place);
    }
    fresh.back()->places.push_back(one.place);
    fresh.back()->range.frames.push_back(std::move(frame));
    flights_.emplace(key, fresh.back());
  }
  return fresh;
}

void LazyContents::start(const FlightPtr& flight) {
  const auto landed = [flight, landing = landing_](Result<std::string> bytes) {
    const MutexLock lock{landing->mutex};
    landing->landed.push_back({flight, std::move(bytes)});
    landing->changed.notify_all();
  };
  const auto reader = reader_of(flight->image->remote());
  if (!reader) return landed(fail(reader.error()));
  {
    const MutexLock lock{mutex_};
    ++stats_.requests;
  }
  flight->reader = *reader;
  (*reader)->fetch({.path = flight->range.path,
                    .offset = flight->range.offset(),
                    .size = flight->range.size(),
                    .urgency = Urgency::waited_for,
                    .distrusted = flight->distrusted},
                   landed);
}

void LazyContents::land() {
  while (true) {
    std::deque<Landed> batch;
    {
      MutexLock lock{landing_->mutex};
      while (landing_->landed.empty() && !landing_->stopping) lock.wait(landing_->changed);
      if (landing_->stopping) return;
      batch.swap(landing_->landed);
    }
    std::vector<std::pair<FlightPtr, Result<void>>> ended;
    const Result<void> stored = store_batch(batch, ended);
    for (auto& [flight, how] : ended) end(flight, how ? stored : how);
  }
}

Result<void> LazyContents::store_batch(std::deque<Landed>& batch,
                                       std::vector<std::pair<FlightPtr, Result<void>>>& ended) {
  const auto session = store_.begin_session();
  for (Landed& landed : batch) {
    Result<void> taken = landed.bytes ? take(landed, *session) : Result<void>{fail(landed.bytes.error())};
    const bool wrong =
        !taken && landed.bytes && (taken.error().code == Errc::corrupt || taken.error().code == Errc::version);
    if (wrong && landed.flight->distrusted < FrameFetcher::kMaxDistrust) {
      ++landed.flight->distrusted;
      {
        const MutexLock lock{mutex_};
        ++stats_.distrusted;
      }
      start(landed.flight);
      continue;
    }
    if (!taken) taken = fail(std::move(taken).error(), landed.flight->range.path);
    ended.emplace_back(landed.flight, std::move(taken));
  }
  return session->commit();
}

Result<void> LazyContents::take(const Landed& landed, cas::WriteSession& session) {
  const WantedRange& range = landed.flight->range;
  if (landed.bytes->size() != range.size()) return fail(Errc::corrupt, "another size than was asked for");
  for (const WantedFrame& wanted : range.frames) {
    const ByteSpan container = as_bytes(*landed.bytes).subspan(wanted.offset - range.offset(), wanted.stored);
    const auto frame = decode_wanted(container, wanted, decompressor_);
    if (!frame) return fail(frame.error());
    if (auto added = session.add_frame(container, **frame); !added) return added;
  }
  return {};
}

void LazyContents::end(const FlightPtr& flight, const Result<void>& how) {
  std::vector<Done> waiting;
  std::shared_ptr<ObjectReader> reader;
  {
    const MutexLock lock{mutex_};
    for (const LazyImage::Place& place : flight->places)
      flights_.erase({flight->image.get(), place.bundle, place.frame});
    waiting.swap(flight->waiting);
    reader.swap(flight->reader);
    last_wanted_ = Clock::now();
    if (how) stats_.bytes += flight->range.size();
    if (!how) ++stats_.failures;
  }
  for (const Done& done : waiting) done(how);
}

std::chrono::milliseconds LazyContents::quiet_for() const {
  return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - last_wanted_.load());
}

bool LazyContents::expects(const cas::ChunkId& chunk) const {
  const auto present = images();
  return std::ranges::any_of(present, [&](const ImagePtr& image) { return image->find(chunk).has_value(); });
}

bool LazyContents::expects_recipe(const cas::ContentId& content) const {
  const auto present = images();
  return std::ranges::any_of(present, [&](const ImagePtr& image) { return image->recipe(content) != nullptr; });
}

cas::ContentStore::LiveContents LazyContents::with_lazy(cas::ContentStore::LiveContents live) const {
  return [this, live = std::move(live)](const auto& found) -> Result<void> {
    const auto present = images();
    for (const ImagePtr& image : present) {
      found({image->manifest().index.id, image->manifest().index.size});
      for (const ChunkOrder::Chunk& chunk : image->parsed().order.chunks()) found({chunk.id, chunk.size});
    }
    return live([&](const cas::ContentStore::LiveContent& content) {
      // Its chunks were named above; the store has no recipe to follow before it is complete.
      const bool lazy =
          content.size > cas::kMaxChunk && expects_recipe(content.id) && !store_.recipe(content.id, content.size);
      if (!lazy) found(content);
    });
  };
}

LazyContents::Stats LazyContents::stats() const {
  const MutexLock lock{mutex_};
  Stats stats = stats_;
  stats.images = images_.size();
  for (const auto& used : used_)
    if (const auto reader = used.lock()) stats.remotes.add(reader->counters());
  return stats;
}

}  // namespace stellarium::cdn
