#pragma once
#include <chrono>
#include <functional>
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

  /// "stellarium: …", one line, everything unprintable escaped; returns 1, the exit code that goes with it.
  int complain(const Error& error);
};

}  // namespace stellarium::server
