#pragma once
#include <atomic>
#include <chrono>
#include <functional>
#include <list>
#include <string>
#include <thread>

#include "tools/cli/command_line.h"
#include "tools/keeper/link.h"
#include "tools/protocol/channel.h"
#include "tools/server/channel_io.h"
#include "tools/server/server_control.h"

namespace stellarium::server {

/// Answers command processes until somebody ends it: one thread for each command, at most kMaxCommands at once (more
/// wait in the socket's queue).
class Server final : public ServerControl {
 public:
  static constexpr std::size_t kMaxCommands = 64;

  /// Runs one command and returns its exit code; called on a thread of its own.
  using Runner = std::function<int(const cli::Invocation& invocation, CommandIo& io, ServerControl& control)>;
  struct Setup {
    std::string store_uuid;
    pid_t process;      ///< ours, as the host calls it
    UniqueFd listener;  ///< the keeper's; it stays open there
    int signals;  ///< a signalfd, borrowed: any signal ends the server, which then restarts unless the keeper was told
                  ///< to stop
    Runner run;
  };
  explicit Server(Setup setup);
  ~Server() override;

  /// Returns when every command has ended: how to end.
  keeper::Ending serve();

  void end(keeper::Ending ending) override;
  double uptime_seconds() const override;

 private:
  struct Session {
    protocol::Channel channel;
    std::atomic<ChannelIo*> io = nullptr;
    std::atomic<bool> ended = false;
    std::thread thread;
  };
  void accept_one();
  void talk(Session& session);  ///< the whole life of a session's thread
  void converse(Session& session);
  int run_command(const protocol::Request& request, bool same_build, ChannelIo& io);
  void reap_sessions(bool wait);
  void cancel_sessions();

  const Setup setup_;
  UniqueFd wake_;  ///< eventfd: a session ended, or `end` was called
  const std::chrono::steady_clock::time_point began_;
  std::atomic<int> ending_ = -1;
  std::list<Session> sessions_;  ///< touched by serve()'s thread only
};

}  // namespace stellarium::server
