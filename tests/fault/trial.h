#pragma once
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

namespace stellarium::test {

/// What became of a process of its own that ran one trial.
struct TrialResult {
  std::string text;    ///< what it reported
  std::string ending;  ///< empty after a normal end, else "signal 6" or "timed out"
  std::string log;     ///< its stdout and stderr
};

/// A child process, so that whatever a damaged store does to a library (an assertion, an endless loop) is a result and
/// not the end of the test. The calling process must not have opened a database: its threads would be missing in the
/// child.
class Trial {
 public:
  /// Runs `body` in a child; its working files are in `folder`.
  Trial(std::filesystem::path folder, const std::function<std::string()>& body);
  /// Until the child has made this file, or ended.
  void wait_for(const std::filesystem::path& mark) const;
  void kill_after(std::chrono::microseconds delay);  ///< SIGKILL
  TrialResult wait(std::chrono::seconds limit);

 private:
  std::filesystem::path folder_;
  int pid_ = -1;
};

/// A number from the environment.
std::uint64_t number_from(const char* variable, std::uint64_t otherwise);

/// Where trials keep their stores: in memory where that is possible.
std::filesystem::path trial_root();

}  // namespace stellarium::test
