#include "tools/server/ballast.h"

#include <fcntl.h>
#include <sys/statvfs.h>

#include <algorithm>

#include "base/log.h"
#include "tools/text/units.h"

namespace stellarium::server {
namespace {

constexpr std::uint64_t kMiB = 1u << 20;
constexpr std::uint64_t kSmallest = 64 * kMiB, kLargest = 1024 * kMiB;
constexpr std::uint64_t kLargestShare = 16;  // of a small file system: one sixteenth
constexpr std::uint64_t kSteps = 4;
constexpr std::uint64_t kBlock = 4096;

Ballast::Space space_below(const std::filesystem::path& store) {
  struct statvfs info {};
  if (::statvfs(store.c_str(), &info) != 0) return {};
  return {info.f_frsize * info.f_blocks, info.f_frsize * info.f_bavail};
}

}  // namespace

std::uint64_t Ballast::size_for(std::uint64_t file_system_bytes) {
  const std::uint64_t least = std::min(kSmallest, file_system_bytes / kLargestShare);
  const std::uint64_t size = std::clamp(file_system_bytes / 100, least, kLargest);
  return size / (kSteps * kBlock) * (kSteps * kBlock);
}

std::unique_ptr<Ballast> Ballast::open(Io& io, const std::filesystem::path& store, AskSpace ask) {
  if (!ask) ask = [store] { return space_below(store); };
  std::unique_ptr<Ballast> ballast{new Ballast{io, std::move(ask)}};
  if (auto found = ballast->find(store); !found) log::warn("no ballast is held: {}", to_string(found.error()));
  return ballast;
}

Result<void> Ballast::find(const std::filesystem::path& store) {
  MutexLock lock{mutex_};
  size_ = size_for(ask_().total);
  const auto dir = io_.open(AT_FDCWD, store.string(), O_RDONLY | O_DIRECTORY, 0);
  if (!dir) return fail(dir.error());
  auto file = io_.open(dir->get(), "ballast", O_RDWR | O_CREAT, 0600);
  if (!file) return fail(file.error());
  const auto status = io_.status(file->get());
  if (!status) return fail(status.error());
  if (static_cast<std::uint64_t>(status->st_size) != size_) {
    if (auto cut = io_.truncate(file->get(), size_); !cut) return cut;
  }
  // Whole steps from the start of the file; a step that was left half taken is given back.
  const std::uint64_t step = std::max(size_ / kSteps, kBlock);
  held_ = std::min(size_, static_cast<std::uint64_t>(status->st_blocks) * 512 / step * step);
  if (held_ < size_) {
    if (auto freed = io_.punch(file->get(), held_, size_ - held_); !freed) return freed;
  }
  file_ = std::move(*file);
  return {};
}

bool Ballast::is_short() {
  MutexLock lock{mutex_};
  return ask_().free < size_ / kSteps;
}

bool Ballast::give_up() {
  MutexLock lock{mutex_};
  if (!file_ || held_ == 0) return false;
  const std::uint64_t step = size_ / kSteps;
  if (auto freed = io_.punch(file_.get(), held_ - step, step); !freed) {
    log::warn("the ballast cannot be given up: {}", to_string(freed.error()));
    return false;
  }
  held_ -= step;
  log::warn("the disk is full: gave up {} of the ballast, {} are left", text::format_bytes(step),
            text::format_bytes(held_));
  return true;
}

void Ballast::restore() {
  MutexLock lock{mutex_};
  const std::uint64_t step = size_ / kSteps;
  while (file_ && held_ < size_ && ask_().free >= 2 * step) {
    if (auto taken = io_.reserve(file_.get(), held_, step); !taken) {
      log::warn("the ballast cannot be taken: {}", to_string(taken.error()));
      (void)io_.punch(file_.get(), held_, step);  // what it got of it; else found at the next start
      return;
    }
    held_ += step;
  }
}

Ballast::Stats Ballast::stats() {
  MutexLock lock{mutex_};
  return {size_, held_};
}

}  // namespace stellarium::server
