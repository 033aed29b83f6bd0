#include "cdn/uploader.h"

#include <memory>

namespace stellarium::cdn {

Uploader::Uploader(ObjectTarget& target, const Options& options)
    : target_{target}, options_{options}, workers_{options.parallel} {}

Uploader::~Uploader() {
  const MutexLock lock{mutex_};
  if (!failure_) failure_ = Error{Errc::cancelled, "the upload was given up", 0};  // what waits ends at once
}

Result<void> Uploader::offer(std::string path, std::string bytes) {
  {
    MutexLock lock{mutex_};
    while (!failure_ && waiting_ != 0 && waiting_ + bytes.size() > options_.most_waiting) lock.wait(changed_);
    if (failure_) return fail(*failure_);
    waiting_ += bytes.size();
    ++jobs_;
    ++totals_.objects;
    totals_.bytes += bytes.size();
  }
  workers_.submit([this, path = std::move(path), bytes = std::move(bytes)] {
    bool stopped = false;
    {
      const MutexLock lock{mutex_};
      stopped = failure_.has_value();
    }
    done(stopped ? Result<bool>{false} : write_if_missing(path, bytes), bytes.size());
  });
  return {};
}

Result<bool> Uploader::write_if_missing(const std::string& path, const std::string& bytes) {
  const auto there = target_.size_of(path);
  if (!there) return fail(there.error());
  if (*there == bytes.size()) return false;
  // One of another size was cut off on its way.
  const auto existing = *there ? ObjectTarget::Existing::replace : ObjectTarget::Existing::keep;
  if (auto written = target_.write(path, as_bytes(bytes), existing); !written) return fail(written.error());
  return true;
}

void Uploader::done(const Result<bool>& wrote, std::uint64_t size) {
  {
    const MutexLock lock{mutex_};
    waiting_ -= size;
    --jobs_;
    if (!wrote && !failure_) failure_ = wrote.error();
    if (wrote && *wrote) {
      ++totals_.written;
      totals_.sent += size;
    }
  }
  changed_.notify_all();
}

Result<void> Uploader::finish() {
  MutexLock lock{mutex_};
  while (jobs_ != 0) lock.wait(changed_);
  if (failure_) return fail(*failure_);
  return {};
}

Uploader::Totals Uploader::totals() const {
  const MutexLock lock{mutex_};
  return totals_;
}

}  // namespace stellarium::cdn
