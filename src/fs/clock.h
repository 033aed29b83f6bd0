#pragma once
#include <ctime>

#include "fs/types.h"

namespace stellarium::fs {

/// The time of day, for the times of inodes and records.
inline Timespec now() {
  timespec time{};
  ::clock_gettime(CLOCK_REALTIME, &time);
  return {time.tv_sec, static_cast<std::uint32_t>(time.tv_nsec)};
}

}  // namespace stellarium::fs
