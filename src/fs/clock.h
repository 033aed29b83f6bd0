#pragma once
#include <sys/stat.h>

#include <chrono>
#include <ctime>

#include "fs/types.h"

namespace stellarium::fs {

inline Timespec to_time(const timespec& time) {
  return {time.tv_sec, static_cast<std::uint32_t>(time.tv_nsec)};
}

/// The time of day, for the times of inodes and records.
inline Timespec now() {
  timespec time{};
  ::clock_gettime(CLOCK_REALTIME, &time);
  return to_time(time);
}

/// A change within the same tick of the host's clock leaves a file's times as they are, so times tell about changes
/// only if they are older than that.
inline constexpr auto kClockTick = std::chrono::milliseconds{20};

/// Whether somebody changed the file so lately, by its ctime, which only the kernel sets. One in the future is left
/// from before the clock was set back.
inline bool is_younger(const struct stat& file, std::chrono::nanoseconds limit) {
  const Timespec present = now();
  const auto age = std::chrono::seconds{present.seconds - file.st_ctim.tv_sec} +
                   std::chrono::nanoseconds{present.nanoseconds - file.st_ctim.tv_nsec};
  return age >= std::chrono::nanoseconds{0} && age < limit;
}

}  // namespace stellarium::fs
