#include "fs/headroom.h"

#include <sys/statvfs.h>
#include <time.h>

#include <algorithm>
#include <cerrno>

namespace stellarium::fs {
namespace {

constexpr std::uint64_t kMiB = 1u << 20;
constexpr std::uint64_t kShare = 200, kLargestShare = 32;
constexpr std::uint64_t kSmallest = 32 * kMiB, kLargest = 512 * kMiB;
constexpr std::int64_t kMillisecond = 1'000'000;
// In 10 ms nobody writes 32 MiB behind our back.
constexpr std::int64_t kTrusted = 10 * kMillisecond, kBetweenCalls = 100 * kMillisecond;

std::int64_t clock_now() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);  // no system call, and as fine as is needed
  return static_cast<std::int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

Headroom::Space host_space(const std::filesystem::path& dir) {
  struct statvfs host {};
  if (::statvfs(dir.c_str(), &host) != 0) return {};
  return {host.f_frsize * host.f_blocks, host.f_frsize * host.f_bavail};
}

}  // namespace

Headroom::Headroom(const std::filesystem::path& dir, AskSpace ask)
    : ask_{ask ? std::move(ask) : [dir] { return host_space(dir); }} {}

std::uint64_t Headroom::mark_for(std::uint64_t file_system_bytes) {
  const std::uint64_t least = std::min(kSmallest, file_system_bytes / kLargestShare);
  return std::clamp(file_system_bytes / kShare, least, kLargest);
}

bool Headroom::is_due() const {
  return clock_now() - measured_.load(std::memory_order_relaxed) > kTrusted;
}

void Headroom::measure() {
  const Space space = ask_();
  // What cannot be measured is not limited.
  const bool known = space.total != 0;
  left_ = known ? static_cast<std::int64_t>(space.free) - static_cast<std::int64_t>(mark_for(space.total)) : INT64_MAX;
  const std::int64_t now = clock_now();
  measured_ = now;
  if (left_ > 0) return;
  std::function<void()> hook;
  {
    const MutexLock lock{mutex_};
    if (now - told_ < kBetweenCalls) return;
    told_ = now;
    hook = on_short_;
  }
  if (hook) hook();
}

Result<void> Headroom::admit(std::uint64_t bytes) {
  const auto wanted = static_cast<std::int64_t>(std::min<std::uint64_t>(bytes, INT64_MAX));
  if (left_.load(std::memory_order_relaxed) < wanted || is_due()) measure();
  if (left_.load(std::memory_order_relaxed) < wanted) {
    ++refused_;
    return fail(Error{Errc::out_of_space, "the file system of the store is full", ENOSPC});
  }
  left_.fetch_sub(wanted, std::memory_order_relaxed);
  return {};
}

bool Headroom::is_short() {
  if (is_due()) measure();
  return left_.load(std::memory_order_relaxed) <= 0;
}

Headroom::State Headroom::state() {
  const Space space = ask_();
  return {space, mark_for(space.total), refused_};
}

void Headroom::set_on_short(std::function<void()> hook) {
  const MutexLock lock{mutex_};
  on_short_ = std::move(hook);
}

}  // namespace stellarium::fs
