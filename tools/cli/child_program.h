#pragma once
#include <signal.h>
#include <sys/types.h>

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace stellarium::cli {

/// A program that was started, and does not outlive the thread that started it.
class ChildProgram {
 public:
  struct Options {
    const std::vector<std::string>& words;
    const sigset_t& mask;
    std::string_view package;               ///< of Debian, for a person who does not have the program
    std::span<const int> descriptors = {};  ///< it has these of ours too, under the same numbers
    int orphan_signal = SIGTERM;            ///< what it gets when our thread ends first
  };
  /// Errors: not_found (the program), permission, io.
  static Result<ChildProgram> start(const Options& options);

  pid_t pid() const { return pid_; }
  int ended() const { return ended_.get(); }  ///< a descriptor; readable: it has ended
  void kill(int signal) const { ::kill(pid_, signal); }
  /// Its exit code; 128 + the signal that ended it. Once only.
  Result<int> wait() const;

 private:
  ChildProgram(pid_t pid, UniqueFd ended, std::string name)
      : pid_{pid}, ended_{std::move(ended)}, name_{std::move(name)} {}
  pid_t pid_;
  UniqueFd ended_;
  std::string name_;
};

}  // namespace stellarium::cli
