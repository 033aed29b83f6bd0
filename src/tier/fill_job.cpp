#include "tier/fill_job.h"

#include "base/log.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace stellarium::tier {
namespace {

constexpr std::uint64_t kHashStep = 1u << 20;
constexpr std::size_t kHashBuffer = 128u << 10;  // stays in the second-level cache between read and hash

}  // namespace

FillJob::FillJob(const Context& context, const ContentRef& content, Done done)
    : context_{context}, content_{content}, done_{std::move(done)} {}

void FillJob::start() {
  later(&FillJob::prepare);
}

void FillJob::later(void (FillJob::*step)()) {
  context_.pool.submit(WorkerPool::Priority::fill, [self = shared_from_this(), step] { ((*self).*step)(); });
}

void FillJob::prepare() {
  if (HotFilePtr present = context_.hot.find(content_)) return finish(std::move(present));
  old_file_ = context_.hot.open_unverified(content_);
  if (old_file_) return check_old_file();
  begin_fill();
}

void FillJob::check_old_file() {
  if (context_.stopping) return finish(fail(Errc::cancelled, "the tier is closing"));
  const Result<void> read = hash_file(old_file_.get(), content_.size);
  if (read && hashed_ < content_.size) return later(&FillJob::check_old_file);
  old_file_.reset();
  if (read && hasher_.finish() == content_.id) return finish(context_.hot.accept(content_));
  log::warn("hot file {}: not what an earlier boot was to write, filled again", content_.id.hex());
  context_.hot.drop(content_.id);
  begin_fill();
}

void FillJob::begin_fill() {
  Result<RecipeCache::MapPtr> map = context_.reader.map_of(content_);
  if (!map) return finish(fail(map.error()));
  Result<std::unique_ptr<HotStore::NewFile>> file = context_.hot.create(content_, (*map)->data_bytes());
  if (!file) return finish(fail(file.error()));
  // Writing makes it as long as it has to be, but for holes.
  if ((*map)->data_bytes() < content_.size) {
    if (auto sized = context_.io.truncate((*file)->fd(), content_.size); !sized) return finish(fail(sized.error()));
  }

  const std::size_t slices = (content_.size + kSlice - 1) / kSlice;
  auto target = std::make_shared<Target>(slices);
  target->file = std::move(*file);
  target->map = std::move(*map);
  for (std::size_t i = 0; i < slices; ++i) target->slices[i].filled.store(i * kSlice, std::memory_order_relaxed);
  current_ = target.get();
  {
    const MutexLock lock{mutex_};
    target_ = std::move(target);
    error_.reset();
  }
  hasher_.reset();
  hashed_ = 0;
  next_slice_ = 0;
  const auto helpers = static_cast<unsigned>(std::min<std::size_t>(context_.pool.threads(), slices));
  workers_ = std::max(helpers, 1u);
  for (unsigned i = 1; i < helpers; ++i) later(&FillJob::fill_next_slice);
  fill_next_slice();
}

std::uint64_t FillJob::end_of(std::size_t slice) const {
  return std::min<std::uint64_t>((slice + 1) * kSlice, content_.size);
}

void FillJob::fill_next_slice() {
  const std::size_t slice = next_slice_.fetch_add(1);
  if (slice >= current_->slices.size()) return worker_ended();
  fill_slice(slice);
}

void FillJob::fill_slice(std::size_t number) {
  Slice& slice = current_->slices[number];
  const std::uint64_t end = end_of(number);
  for (bool last = false; !last;) {
    if (context_.stopping) return slice_failed({Errc::cancelled, "the tier is closing"});
    const std::uint64_t at = slice.filled.load(std::memory_order_relaxed) + slice.gathered_bytes;
    Result<ContentReader::Run> run = context_.reader.run_at(*current_->map, at, end);
    if (!run) return slice_failed(run.error());
    last = at + run->size() == end;
    if (auto done = put(slice, *std::move(run), end); !done) return slice_failed(done.error());
    if (!last && context_.pool.demand_waits()) {
      context_.pool.submit(WorkerPool::Priority::step,
                           [self = shared_from_this(), number] { self->fill_slice(number); });
      return;
    }
  }
  // The queue is for what is still to be filled: a finished file waits for nobody.
  if (next_slice_ >= current_->slices.size()) return worker_ended();
  later(&FillJob::fill_next_slice);
}

Result<void> FillJob::put(Slice& slice, ContentReader::Run run, std::uint64_t end) {
  const std::uint64_t begin = slice.filled.load(std::memory_order_relaxed);
  const std::uint64_t stop = begin + slice.gathered_bytes + run.size();
  const bool hole = run.data.empty();
  slice.gathered_bytes += run.size();
  slice.gathered.push_back(std::move(run));
  if (whole_is_hashed()) {
    if (auto hashed = hash_gathered(slice); !hashed) return hashed;
  }
  if (!hole && stop != end && slice.gathered.size() < kMaxGathered) return {};
  std::vector<ByteSpan> parts;
  for (const ContentReader::Run& part : slice.gathered) parts.push_back(part.data);
  if (hole) parts.pop_back();
  if (!parts.empty()) {
    if (auto written = context_.io.write_parts_at(current_->file->fd(), parts, begin); !written) return written;
  }
  slice.gathered = {};
  slice.gathered_bytes = 0;
  slice.filled.store(stop, std::memory_order_release);
  return {};
}

Result<void> FillJob::hash_gathered(const Slice& slice) {
  if (hashing_.exchange(true, std::memory_order_acquire)) return {};  // somebody is at it; nobody waits for a turn
  Result<void> result;
  std::uint64_t at = slice.filled.load(std::memory_order_relaxed);
  if (hashed_ < at) {
    const std::uint64_t there = current_->slices[hashed_ / kSlice].filled.load(std::memory_order_acquire);
    if (there > hashed_) result = hash_file(current_->file->fd(), std::min(there, at));
  }
  for (const ContentReader::Run& run : slice.gathered) {
    if (!result || hashed_ < at) break;
    if (hashed_ == at) {
      hasher_.update(run.data);
      hasher_.update_zeros(run.zeros);
      hashed_ += run.size();
    }
    at += run.size();
  }
  hashing_.store(false, std::memory_order_release);
  return result;
}

void FillJob::slice_failed(const Error& error) {
  {
    const MutexLock lock{mutex_};
    if (!error_) error_ = error;
  }
  next_slice_ = current_->slices.size();  // no further slices for anybody
  worker_ended();
}

void FillJob::worker_ended() {
  if (workers_.fetch_sub(1) != 1) return;
  std::optional<Error> error;
  {
    const MutexLock lock{mutex_};
    error = error_;
    if (error) target_.reset();
  }
  if (!error) return whole_is_hashed() ? check_new_file() : publish();
  if (error->code == Errc::out_of_space && !retried_) {
    retried_ = true;
    context_.hot.make_room(content_.size);
    return begin_fill();
  }
  finish(fail(*error, "filling hot file " + content_.id.hex()));
}

void FillJob::check_new_file() {
  if (context_.stopping) return finish(fail(Errc::cancelled, "the tier is closing"));
  if (auto read = hash_file(current_->file->fd(), content_.size); !read)
    return finish(fail(read.error(), "checking hot file " + content_.id.hex()));
  if (hashed_ < content_.size) return later(&FillJob::check_new_file);
  if (const cas::Hash digest = hasher_.finish(); digest != content_.id) {
    return finish(fail(Errc::corrupt,
                       "content " + content_.id.hex() + ": the chunks of its recipe make content " + digest.hex()));
  }
  publish();
}

Result<void> FillJob::hash_file(int fd, std::uint64_t stop) {
  stop = std::min(hashed_ + kHashStep, stop);
  std::vector<std::byte> buffer(std::min<std::uint64_t>(kHashBuffer, stop - hashed_));
  while (hashed_ < stop) {
    const auto part = MutableByteSpan{buffer}.first(std::min<std::uint64_t>(buffer.size(), stop - hashed_));
    const Result<std::size_t> size = context_.io.read_at(fd, part, hashed_);
    if (!size) return fail(size.error());
    if (*size < part.size()) return fail(Errc::corrupt, "it ends at " + std::to_string(hashed_ + *size));
    hasher_.update(part);
    hashed_ += *size;
  }
  return {};
}

void FillJob::publish() {
  std::shared_ptr<Target> target;
  {
    const MutexLock lock{mutex_};
    target = std::move(target_);
  }
  Result<HotFilePtr> published = context_.hot.publish(*target->file);
  target.reset();  // closes the writable descriptor, unless read_filled is using it at this moment
  if (published && context_.hot.verity()) {
    context_.pool.submit(WorkerPool::Priority::fill, [&hot = context_.hot, file = *published] { hot.protect(*file); });
  }
  finish(std::move(published));
}

void FillJob::finish(Result<HotFilePtr> result) {
  {
    const MutexLock lock{mutex_};
    target_.reset();
  }
  old_file_.reset();
  done_(std::move(result));
}

std::optional<std::size_t> FillJob::read_filled(std::uint64_t offset, MutableByteSpan out) {
  std::shared_ptr<Target> target;
  {
    const MutexLock lock{mutex_};
    target = target_;
  }
  if (!target) return std::nullopt;
  const std::uint64_t end = offset + out.size();
  for (std::uint64_t at = offset; at < end; at = (at / kSlice + 1) * kSlice) {
    const std::uint64_t needed = std::min(end, (at / kSlice + 1) * kSlice);
    if (target->slices[at / kSlice].filled.load(std::memory_order_acquire) < needed) return std::nullopt;
  }
  const int fd = target->file->fd();
  std::size_t done = 0;
  while (done < out.size()) {
    const ssize_t n = ::pread(fd, out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return std::nullopt;
    done += static_cast<std::size_t>(n);
  }
  return done;
}

}  // namespace stellarium::tier
