#pragma once
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"
#include "tools/protocol/message.h"

namespace stellarium::server {

/// What a command function sees of whoever called it: a command process at the other end of a socket, or a test.
///
/// Threads: `progress` and `cancelled` may be called from any thread of the command, the rest from one.
class CommandIo {
 public:
  virtual ~CommandIo() = default;
  virtual void out(std::string_view bytes) = 0;                   ///< to stdout, as they are
  virtual void err(std::string_view text) = 0;                    ///< to stderr, as it is
  virtual void progress(const protocol::Progress& progress) = 0;  ///< may be called often; shown ten times a second
  /// Whether the caller asked to stop or went away. Long work asks this now and then.
  virtual bool cancelled() = 0;
  /// Sleeps; false as soon as the command is cancelled.
  virtual bool wait(std::chrono::milliseconds time) = 0;

  /// The pipe that came with the request. Errors: invalid_argument if there is none, or it is neither a pipe nor a
  /// socket.
  [[nodiscard]] virtual Result<UniqueFd> take_stream() = 0;
  /// What an earlier server gave the caller to keep: a memfd, or nothing. Errors: invalid_argument.
  [[nodiscard]] virtual Result<UniqueFd> take_kept() = 0;
  /// Gives the caller a memfd that he brings along when this server is lost and he asks the next one.
  virtual void give_to_keep(const UniqueFd& memory) = 0;
  /// Waits until the stream's fd can be read (or written); false if the command is cancelled first.
  virtual bool wait_for_stream(int fd, bool to_read) = 0;
  /// At the end of the pipe: whether the caller says that it wrote all of it. Waits for its word.
  virtual bool stream_was_complete() = 0;
  virtual void contents(const protocol::ContentList& list) = 0;  ///< for the caller's stat cache
  /// From now on the caller's questions are answered with this, whenever `cancelled` or a wait looks for messages.
  /// Without it (empty) a question ends the command.
  using ContentLookup = std::function<Result<bool>(const cas::ContentId&, std::uint64_t size)>;
  virtual void answer_questions(ContentLookup lookup) = 0;
  /// Tells the caller that everything is checked and it can go on: what it asked for is served, `writable` or not.
  virtual void proceed(bool writable) = 0;
  /// Tells the caller to mount, `writable` or not, and returns the /dev/fuse descriptor of that. Errors: cancelled,
  /// invalid_argument (not /dev/fuse).
  [[nodiscard]] virtual Result<UniqueFd> receive_device(bool writable) = 0;

  /// The command goes on when its function has returned 0, and has no thread then: `what` lives until somebody calls
  /// the returned function with the exit code (from any thread, as often as he likes), or the caller stops or goes
  /// away. A server that restarts ends it, too, and the caller may ask its successor.
  virtual std::function<void(int code)> outlive(std::shared_ptr<void> what) = 0;

  /// "stellarium: …", one line, everything unprintable escaped; returns 1, the exit code that goes with it.
  int complain(const Error& error);
};

}  // namespace stellarium::server
