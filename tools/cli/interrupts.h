#pragma once
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/unique_fd.h"

namespace stellarium::cli {

/// SIGINT, SIGTERM and SIGHUP as a descriptor for as long as it lives. May be nested: whoever takes a signal has it,
/// and what nobody took acts on the process when the last one ends.
class Interrupts {
 public:
  Interrupts() {
    sigset_t watched;
    ::sigemptyset(&watched);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) ::sigaddset(&watched, signal);
    ::pthread_sigmask(SIG_BLOCK, &watched, &before_);
    fd_.reset(::signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK));
  }
  ~Interrupts() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;

  int fd() const { return fd_.get(); }  ///< readable: there is one to take
  /// The signal; 0 if there is none.
  int take() const {
    signalfd_siginfo info{};
    return ::read(fd_.get(), &info, sizeof info) == sizeof info ? static_cast<int>(info.ssi_signo) : 0;
  }
  const sigset_t& mask_before() const { return before_; }  ///< what a program that is started should have

 private:
  sigset_t before_{};
  UniqueFd fd_;
};

}  // namespace stellarium::cli
