#include "tools/server/thread_priority.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/log.h"

namespace stellarium::server {

void lower_thread_priority(const char* what) {
  constexpr int kNice = 5, kIoWhoProcess = 1, kIoLowestBestEffort = 2 << 13 | 7;
  const sched_param none{};
  const auto thread = static_cast<id_t>(::gettid());
  if (::sched_setscheduler(0, SCHED_BATCH, &none) != 0 ||
      (::getpriority(PRIO_PROCESS, thread) < kNice && ::setpriority(PRIO_PROCESS, thread, kNice) != 0) ||
      ::syscall(SYS_ioprio_set, kIoWhoProcess, 0, kIoLowestBestEffort) != 0)
    log::warn("{} runs at normal priority: {}", what, std::strerror(errno));
}

}  // namespace stellarium::server
