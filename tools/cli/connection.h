#pragma once
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "tools/cli/command_line.h"
#include "tools/cli/daemon_start.h"
#include "tools/protocol/channel.h"
#include "tools/protocol/message.h"

namespace stellarium::cli {

/// A command's line to the server.
///
/// Threads: `cancel`, `ask`, `end_stream` and `send_device` may be called from any thread; the rest from one.
class Connection {
 public:
  /// Connects and shakes hands. A server of another build is refused, naming both builds, unless `any_build` (the
  /// daemon command must be able to stop it). `patience`: seconds to wait for an answer; 0: for ever, with a note on
  /// stderr that it waits.
  static Result<Connection> open(const std::filesystem::path& store, Start start, bool any_build = false,
                                 double patience = 0);

  const protocol::Welcome& server() const { return server_; }
  [[nodiscard]] Result<void> request(const std::vector<std::string>& words, bool wants_progress,
                                     std::span<const int> descriptors = {}) const;
  void cancel() const;
  void ask(const protocol::ContentQuestion& question) const;
  void end_stream() const;  ///< "the pipe now holds everything"
  [[nodiscard]] Result<void> send_device(int fd) const;
  const protocol::Channel& channel() const { return channel_; }

 private:
  Connection(protocol::Channel channel, protocol::Welcome server)
      : channel_{std::move(channel)}, server_{std::move(server)} {}
  protocol::Channel channel_;
  protocol::Welcome server_;
};

/// What a command does with the server's answers besides showing them.
struct Handlers {
  std::function<void(const protocol::ContentList&)> contents;
  std::function<void(protocol::ContentAnswer)> answer;
  std::function<Result<void>(bool writable)> proceed;
  std::function<void(protocol::Progress&)> progress;  ///< fills in what only the command knows: the total
  std::function<bool()> hide_complaints;              ///< the command knows better what went wrong
  std::function<void(UniqueFd)> keep;                 ///< to be brought along to the next server
  bool* lost = nullptr;                               ///< set, and nothing said, if the server goes away
  std::string* capture_output = nullptr;              ///< instead of stdout
  bool uninterruptible = false;                       ///< the command undoes what another one began
};

/// Shows output, complaints and progress until the server says how the command ended. An interrupt (Ctrl-C, SIGTERM)
/// cancels the command, a second one ends this process at once. Returns the exit code; 128 + the signal if interrupted.
int follow(const Connection& connection, const GlobalOptions& options, const Handlers& handlers);

/// The words that make the server see the same flags as this command.
std::vector<std::string> words_for(const Invocation& invocation, std::vector<std::string> arguments);

/// Runs a command that is all the server's. `create`: makes the store if there is none.
int run_remotely(const Invocation& invocation, const std::filesystem::path& store, bool create = false);

/// "stellarium: …" on stderr; returns 1.
int complain(const Error& error);
/// The same of what is no error.
void print_note(const std::string& line);

}  // namespace stellarium::cli
