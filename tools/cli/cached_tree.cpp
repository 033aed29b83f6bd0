#include "tools/cli/cached_tree.h"

#include <utility>

#include "fs/member_window.h"
#include "tools/cli/tree_size.h"

namespace stellarium::cli {
namespace {

timespec now() {
  timespec time{};
  ::clock_gettime(CLOCK_REALTIME, &time);
  return time;
}

}  // namespace

CachedTree::CachedTree(fs::StatCache& cache, bool quiet) : cache_{cache}, quiet_{quiet} {}

/// Somebody else may have imported a content of this size: then it is sent in vain.
bool CachedTree::knows_size(std::uint64_t size) {
  if (!sizes_) {  // where nothing changed, nobody asks
    MutexLock lock{mutex_};
    const auto sizes = cache_.file_sizes(fs::MemberWindow::kMinUnread);
    sizes_.emplace(sizes.begin(), sizes.end());
  }
  return !sizes_->insert(size).second;
}

std::optional<fs::KnownContent> CachedTree::known(std::string_view /*path*/, const struct stat& status) {
  MutexLock lock{mutex_};
  auto found = use_cache_ ? cache_.find(status) : std::nullopt;
  if (found) known_bytes_ += content_bytes(status);
  return found;
}

void CachedTree::content_read(std::string_view /*path*/, const struct stat& status, const fs::KnownContent& content) {
  const timespec when = now();
  MutexLock lock{mutex_};
  cache_.remember(status, content, when);
}

void CachedTree::ask(const std::vector<fs::ContentSize>& contents) {
  protocol::ContentQuestion question;
  question.contents.reserve(contents.size());
  for (const auto& [id, size] : contents) question.contents.push_back({id, size});
  connection_->ask(question);
}

std::vector<bool> CachedTree::answer() {
  MutexLock lock{mutex_};
  while (answers_.empty() && !stop_) lock.wait(changed_);
  if (answers_.empty()) return {};
  std::vector<bool> present = std::move(answers_.front().present);
  answers_.pop_front();
  return present;
}

void CachedTree::data_sent(std::string_view path, const struct stat& status, const fs::KnownContent& content) {
  const timespec when = now();
  MutexLock lock{mutex_};
  sent_.insert_or_assign(std::string{path}, Sent{status, content, when});
}

void CachedTree::note(const std::string& line) {
  if (!quiet_) print_note(line);
}

bool CachedTree::progress(std::uint64_t files, std::uint64_t bytes) {
  files_ = files;
  read_bytes_ = bytes;
  return !stop_;
}

void CachedTree::take(protocol::ContentAnswer answer) {
  {
    MutexLock lock{mutex_};
    answers_.push_back(std::move(answer));
  }
  changed_.notify_one();
}

void CachedTree::remember(const protocol::ContentList& list) {
  MutexLock lock{mutex_};
  for (const auto& entry : list.entries) {
    const auto match = sent_.find(entry.path);
    if (match == sent_.end()) continue;
    auto& [status, content, when] = match->second;
    content.id = entry.id;
    if (static_cast<std::uint64_t>(status.st_size) == entry.size) cache_.remember(status, content, when);
    sent_.erase(match);
  }
  changed_.notify_one();
}

void CachedTree::save_when_remembered() {
  MutexLock lock{mutex_};
  while (!sent_.empty() && !stop_) lock.wait(changed_);
  if (!stop_) (void)cache_.save();  // who asks at the end is told why not
}

void CachedTree::describe(protocol::Progress& progress, std::uint64_t total) const {
  progress.done = known_bytes_ + read_bytes_;
  progress.files = files_;
  progress.total = total;
}

void CachedTree::ignore_cache() {
  MutexLock lock{mutex_};
  use_cache_ = false;
  sent_.clear();
}

void CachedTree::stop() {
  {
    MutexLock lock{mutex_};
    stop_ = true;
  }
  changed_.notify_one();
}

}  // namespace stellarium::cli
