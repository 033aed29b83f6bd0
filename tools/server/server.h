#pragma once
#include <atomic>
#include <chrono>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <thread>

#include "tools/cli/command_line.h"
#include "tools/keeper/link.h"
#include "tools/protocol/channel.h"
#include "tools/server/channel_io.h"
#include "tools/server/server_control.h"

namespace stellarium::server {

/// Answers command processes until somebody ends it: one thread for each command, at most kMaxCommands at once (more
/// wait in the socket's queue). Commands that outlive their function have none, and may be as many as there are
/// descriptors.
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
  /// `running`: on its thread. `outliving`: without one, looked after by serve()'s.
  enum class State : std::uint8_t { running, outliving, ended };
  struct Session {
    protocol::Channel channel;
    std::unique_ptr<ChannelIo> io;
    std::atomic<ChannelIo*> cancellable = nullptr;
    std::atomic<State> state = State::running;
    std::thread thread;
  };
  void accept_one();
  bool start(Session& session, void (Server::*life)(Session&));  ///< on a thread of its own, if there can be one
  void talk(Session& session);
  void converse(Session& session);  ///< may leave it outliving
  void watch(Session& session);
  void end_soon(Session& session);  ///< on a thread: a machine may take its time
  void end_outliving(Session& session);
  void say_goodbye(Session& session);
  /// Commands that outlive their function: which of them stopped, or lost their caller.
  void look_after_outliving();
  void set_state(Session& session, State state);
  bool is_full() const;
  int run_command(const protocol::Request& request, bool same_build, ChannelIo& io);
  void reap_sessions(bool wait);
  void cancel_sessions();

  const Setup setup_;
  std::shared_ptr<const UniqueFd> wake_;  ///< eventfd: a session's state changed, or `end` was called
  UniqueFd outliving_;                    ///< epoll instance: their channels, with the sessions' addresses
  const std::chrono::steady_clock::time_point began_;
  std::atomic<int> ending_ = -1;
  std::list<Session> sessions_;  ///< touched by serve()'s thread only
};

}  // namespace stellarium::server
