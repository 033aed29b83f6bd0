#pragma once
#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "tools/keeper/link.h"
#include "tools/keeper/pid_namespace.h"
#include "tools/keeper/record_table.h"
#include "tools/protocol/channel.h"

namespace stellarium::keeper {

/// Holds what must outlive the server (docs/daemon.md): the listening socket, and for every mount its /dev/fuse
/// descriptor and memfd. Starts the server, waits for its end, starts the next. One thread, no RocksDB, no user's path.
class Keeper {
 public:
  struct Setup {
    std::filesystem::path store;     ///< absolute; STORE/run exists
    std::filesystem::path programs;  ///< folder of stellarium-server and stellarium-keeper
    UniqueFd starter;                ///< pipe to the command that waits for the first server: "+", or "-" and why not
    std::optional<int> inherited;    ///< memfd of the keeper program that this one replaces
    std::string oom_score_adj;       ///< for the servers, where that keeper knew it
  };
  static Result<Keeper> create(Setup setup);
  /// Returns the exit code once there is nothing left to keep.
  int run();

 private:
  using Clock = std::chrono::steady_clock;
  explicit Keeper(Setup setup) : setup_{std::move(setup)} {}

  Result<void> take_lock();
  Result<void> watch_signals();
  Result<void> start_server();
  Result<pid_t> start_in_namespace(int link);
  Result<void> hand_over();
  void read_link();
  void answer(const Result<void>& outcome);
  void start_transport(const std::string& remote);
  void on_signals();
  void on_server_exit(int wait_status);
  void report_stuck_server();
  void tell_starter(std::string_view message);
  void become_next_keeper();
  void log(const std::string& line) const;
  int milliseconds_to_wait() const;

  Setup setup_;
  UniqueFd lock_, listener_, log_, signals_;
  RecordTable table_;
  protocol::Channel link_;
  std::string oom_score_adj_;

  pid_t server_ = 0;                       ///< 0: none runs
  std::optional<PidNamespace> namespace_;  ///< of the server, as far as it may have one
  bool server_was_ready_ = false;
  Clock::time_point server_started_{};
  Clock::time_point next_start_{};  ///< while none runs
  unsigned quick_deaths_ = 0;       ///< in a row
  std::string failure_;             ///< what the server said before it gave up
  std::optional<Ending> ending_;    ///< announced by the server
  bool stop_requested_ = false;     ///< by a signal
  pid_t stuck_reported_ = 0;
  std::vector<pid_t> transports_;  ///< each ends with the server that asked for it
  std::optional<int> exit_code_;
};

}  // namespace stellarium::keeper
