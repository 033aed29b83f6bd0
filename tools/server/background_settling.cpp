#include "tools/server/background_settling.h"

#include <sys/statvfs.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <string_view>

#include "base/log.h"
#include "tools/server/thread_priority.h"

namespace stellarium::server {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kQuiet = std::chrono::seconds{30};
constexpr auto kLongestRest = std::chrono::milliseconds{50};
constexpr auto kShortestPause = std::chrono::seconds{1};  // between two runs
constexpr auto kLongestPause = std::chrono::minutes{10};
constexpr int kRestBetweenRuns = 20;       // times as long as a run that found nothing: looking costs 5 % at most
constexpr std::uint64_t kStagedShare = 4;  // staged files may take a quarter of what they and free space are together
constexpr std::uint64_t kFreeShare = 20;   // and a twentieth of the file system should be free

struct Space {
  std::uint64_t total = 0, free = 0;
};

Space space_of(const std::filesystem::path& dir) {
  struct statvfs host {};
  if (::statvfs(dir.c_str(), &host) != 0) return {};
  return {host.f_blocks * host.f_frsize, host.f_bavail * host.f_frsize};
}

}  // namespace

BackgroundSettling::Quiet BackgroundSettling::quiet_from_environment() {
  const char* set = std::getenv("STELLARIUM_SETTLE_AFTER");
  if (set == nullptr) return kQuiet;
  const std::string_view text{set};
  if (text == "never") return std::nullopt;
  unsigned seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error == std::errc{} && end == text.data() + text.size()) return std::chrono::seconds{seconds};
  log::warn("STELLARIUM_SETTLE_AFTER is neither seconds nor 'never': {}", text);
  return kQuiet;
}

bool BackgroundSettling::is_space_short(std::uint64_t total, std::uint64_t free, std::uint64_t staged) {
  return free < total / kFreeShare || staged > (staged + free) / kStagedShare;
}

BackgroundSettling::BackgroundSettling(Store& store, Quiet quiet) : store_{store} {
  if (!quiet) return;
  store_.headroom().set_on_short([this] { hurry(); });
  store_.headroom().set_may_be_relieved(true);
  thread_ = std::thread{[this, quiet] { work(*quiet); }};
}

BackgroundSettling::~BackgroundSettling() {
  store_.headroom().set_may_be_relieved(false);
  store_.headroom().set_on_short({});
  {
    const MutexLock lock{mutex_};
    ending_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

bool BackgroundSettling::wait(std::chrono::nanoseconds time) {
  const auto until = Clock::now() + time;
  MutexLock lock{mutex_};
  while (!ending_ && Clock::now() < until) lock.wait_for(changed_, until - Clock::now());
  return !ending_;
}

bool BackgroundSettling::wait_between_runs(std::chrono::nanoseconds time) {
  const auto until = Clock::now() + time;
  MutexLock lock{mutex_};
  while (!ending_ && !hurrying_ && Clock::now() < until) lock.wait_for(changed_, until - Clock::now());
  hurrying_ = false;
  return !ending_;
}

void BackgroundSettling::hurry() {
  {
    const MutexLock lock{mutex_};
    hurrying_ = true;
  }
  changed_.notify_all();
}

void BackgroundSettling::work(std::chrono::milliseconds quiet) {
  lower_thread_priority("settling");
  fs::Headroom& headroom = store_.headroom();
  const std::chrono::nanoseconds shortest = std::max<std::chrono::milliseconds>(quiet / 2, kShortestPause);
  std::chrono::nanoseconds pause = shortest;
  bool gave_up_hot_files = false;
  bool hopeless = false;  // space is short, and the last run made none: looking again at once is of no use
  while ((hopeless ? wait(pause) : wait_between_runs(pause)) && !store_.database().stopped()) {
    pause = shortest;
    const auto began = Clock::now();
    const auto staged = store_.staging().usage();
    if (!staged) log::warn("settling: {}", to_string(staged.error()));
    const Space space = space_of(store_.dir());
    const bool at_mark = headroom.is_short();
    if (at_mark && !gave_up_hot_files) store_.tier().evict(std::nullopt);  // they only make reading faster
    gave_up_hot_files = at_mark;
    const bool is_short = at_mark || (staged && is_space_short(space.total, space.free, staged->bytes));
    const bool settled = staged && staged->files != 0 && settle(quiet, is_short);
    hopeless = at_mark && !settled && headroom.is_short();
    headroom.set_may_be_relieved(!hopeless);  // whoever writes waits for room only while some is made
    if (settled) continue;                    // what came meanwhile is not kept waiting for the time that this took
    const std::chrono::nanoseconds rest = (Clock::now() - began) * kRestBetweenRuns;
    pause = is_short ? kShortestPause : std::max(shortest, std::min<std::chrono::nanoseconds>(rest, kLongestPause));
  }
}

bool BackgroundSettling::settle(std::chrono::milliseconds quiet, bool is_short) {
  const auto layers = fs::written_layers(store_.database());
  if (!layers) {
    log::warn("settling: {}", to_string(layers.error()));
    return false;
  }
  auto rested = Clock::now();
  const auto go_on = [&](const fs::Settler::Report&) {
    const auto worked = Clock::now() - rested;
    const bool more = wait(is_short ? Clock::duration::zero() : std::min<Clock::duration>(worked, kLongestRest));
    rested = Clock::now();
    return more && !store_.settler().somebody_waits();
  };
  const auto done = store_.settler().settle(*layers, is_short ? std::chrono::milliseconds{0} : quiet, go_on);
  store_.contents().give_back_memory();
  if (!done && done.error().code == Errc::out_of_space) return false;  // who writes is told
  if (!done) {
    log::warn("settling: {}", to_string(done.error()));
    return false;
  }
  if (done->files == 0) return false;
  log::info("settled {} files of {} bytes, {} of them new", done->files, done->bytes, done->bytes_new);
  return true;
}

}  // namespace stellarium::server
