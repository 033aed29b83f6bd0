#pragma once
#include <chrono>
#include <string>

#include "tools/cli/options.h"
#include "tools/protocol/message.h"

namespace stellarium::cli {

/// One line that tells how far a command is: bar, percent, amount, rate and time left. Never more than 100 %.
std::string progress_line(const protocol::Progress& progress, double seconds, unsigned columns);
/// The same for programs: {"schema":1,"phase":…,"done":…,"total":…,"percent":…,"files":…,"rate":…,"eta":…}; what is not
/// known is left out.
std::string progress_json(const protocol::Progress& progress, double seconds);

/// Draws on stderr: a line that is drawn over on a terminal, a line a second where `plain` or `json` ask for it.
/// Threads: one.
class ProgressDisplay {
 public:
  explicit ProgressDisplay(ProgressStyle style);
  ~ProgressDisplay() { clear(); }
  ProgressDisplay(const ProgressDisplay&) = delete;
  ProgressDisplay& operator=(const ProgressDisplay&) = delete;

  /// Whether anything would be shown in this style here.
  static bool wanted(ProgressStyle style);
  void show(const protocol::Progress& progress);
  void clear();  ///< before anything else is printed

 private:
  using Clock = std::chrono::steady_clock;
  ProgressStyle style_;
  bool drawn_ = false;
  std::string phase_;
  Clock::time_point phase_began_{}, last_shown_{};
};

}  // namespace stellarium::cli
