#include "fs/staged_cache.h"

namespace stellarium::fs {

std::shared_ptr<StagedFile> StagedCache::find(StagedId id) {
  std::shared_ptr<StagedFile> file;
  {
    const MutexLock lock{mutex_};
    const auto found = by_id_.find(id);
    if (found == by_id_.end()) return nullptr;
    use(found->second);
    file = found->second->file;
  }
  return handle(file);
}

std::shared_ptr<StagedFile> StagedCache::add(const std::shared_ptr<StagedFile>& file) {
  std::shared_ptr<StagedFile> chosen;
  {
    const MutexLock lock{mutex_};
    const auto [found, is_new] = by_id_.try_emplace(file->id());
    if (is_new) {
      found->second = used_.insert(used_.end(), Entry{file, 1});
    } else {
      use(found->second);
    }
    chosen = found->second->file;
  }
  return handle(chosen);
}

void StagedCache::use(Entries::iterator entry) {
  if (entry->users++ == 0) used_.splice(used_.end(), idle_, entry);
}

// The handle's end tells the cache; that it holds the file keeps a forgotten one open for its users.
std::shared_ptr<StagedFile> StagedCache::handle(const std::shared_ptr<StagedFile>& file) {
  return {file.get(), [self = shared_from_this(), held = file](StagedFile*) mutable {
            const std::shared_ptr<StagedFile> last = std::move(held);  // a weak_ptr must not keep it open
            self->let_go(last);
          }};
}

void StagedCache::let_go(const std::shared_ptr<StagedFile>& file) {
  Entries closed;  // their end is after the lock's
  const MutexLock lock{mutex_};
  const auto found = by_id_.find(file->id());
  if (found == by_id_.end() || found->second->file != file) return;  // forgotten
  const Entries::iterator entry = found->second;
  if (--entry->users > 0) return;
  idle_.splice(idle_.end(), used_, entry);
  if (idle_.size() <= idle_limit_) return;
  by_id_.erase(idle_.front().file->id());
  closed.splice(closed.end(), idle_, idle_.begin());
}

void StagedCache::forget(StagedId id) {
  Entries closed;  // their end is after the lock's
  const MutexLock lock{mutex_};
  const auto found = by_id_.find(id);
  if (found == by_id_.end()) return;
  closed.splice(closed.end(), found->second->users > 0 ? used_ : idle_, found->second);
  by_id_.erase(found);
}

bool StagedCache::close_idle(StagedId id) {
  Entries closed;  // their end is after the lock's
  const MutexLock lock{mutex_};
  const auto found = by_id_.find(id);
  if (found == by_id_.end()) return true;
  if (found->second->users > 0) return false;
  closed.splice(closed.end(), idle_, found->second);
  by_id_.erase(found);
  return true;
}

std::size_t StagedCache::users(StagedId id) const {
  const MutexLock lock{mutex_};
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? 0 : found->second->users;
}

StagedCache::Counts StagedCache::counts() const {
  const MutexLock lock{mutex_};
  return {by_id_.size(), idle_.size()};
}

}  // namespace stellarium::fs
