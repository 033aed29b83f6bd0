#include "tools/cli/cached_tree.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "tools/cli/tree_size.h"
#include "tools/text/escape.h"

namespace stellarium::cli {
namespace {

timespec now() {
  timespec time{};
  ::clock_gettime(CLOCK_REALTIME, &time);
  return time;
}

}  // namespace

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

void CachedTree::data_sent(std::string_view path, const struct stat& status, bool elf) {
  const timespec when = now();
  MutexLock lock{mutex_};
  sent_.push_back({std::string{path}, status, elf, when});
}

void CachedTree::note(const std::string& line) {
  if (!quiet_) std::fprintf(stderr, "stellarium: note: %s\n", text::escape(line).c_str());
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
    const auto match =
        std::find_if(sent_.begin(), sent_.end(), [&](const Sent& sent) { return sent.path == entry.path; });
    if (match == sent_.end()) continue;
    if (static_cast<std::uint64_t>(match->status.st_size) == entry.size) {
      cache_.remember(match->status, {.id = entry.id, .elf = match->elf}, match->when);
    }
    sent_.erase(sent_.begin(), match + 1);
  }
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
