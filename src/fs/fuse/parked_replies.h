#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <unordered_map>

#include "base/mutex.h"
#include "fs/fuse/reply.h"
#include "fs/fuse/request.h"

namespace stellarium::fs::fuse {

/// A reply that waits for something slow. Two may answer it, who takes it first: the one that the slow thing calls
/// back, and a signal that reaches the program.
///
/// Keeps the sink alive until it is destroyed itself, also after the reply was taken: what the slow thing still uses
/// (buffer, view, handle table) belongs to it. Destroyed with the reply in it: the program gets EIO.
/// Threads: `take` may be called concurrently.
class ParkedReply {
 public:
  /// Answers early. Called at most once, with no lock held, on the worker that learned of the signal.
  using Interrupted = std::function<void(Reply)>;
  /// What a signal must do to the program to count.
  enum class By : std::uint8_t { any_signal, killing_signal };

  ParkedReply(const Request& request, Reply reply, By by, Interrupted interrupted);
  ~ParkedReply();

  std::optional<Reply> take() EXCLUDES(mutex_);  ///< nothing if it was taken before

 private:
  friend class ParkedReplies;
  void interrupt() EXCLUDES(mutex_);

  const std::shared_ptr<ReplySink> sink_;
  const std::uint64_t request_;
  const std::uint32_t thread_;  // of the host, or 0
  const HostProcesses& processes_;
  const By by_;
  const Interrupted interrupted_;
  Mutex mutex_;
  std::optional<Reply> reply_ GUARDED_BY(mutex_);
};

/// The parked replies of one connection, where INTERRUPT finds them.
///
/// The kernel tells of a request's first signal only, once; a program whose request was read waits for the answer,
/// SIGKILL or not. So a READ is given up (EINTR) only if its program is being killed: for any other signal EINTR would
/// be SIGBUS to a program that reads a mapping, and no disk does that either.
/// Threads: all functions may be called concurrently.
class ParkedReplies {
 public:
  /// Parks the reply to `request`. A signal that was told of before it was parked counts too.
  static std::shared_ptr<ParkedReply> park(const Request& request, Reply reply, ParkedReply::By by,
                                           ParkedReply::Interrupted interrupted);
  /// The kernel tells of a signal to the program that made this request (Request::id).
  void interrupt(std::uint64_t request) EXCLUDES(mutex_);

 private:
  friend class ParkedReply;
  void add(const std::shared_ptr<ParkedReply>& parked) EXCLUDES(mutex_);
  void remove(std::uint64_t request) EXCLUDES(mutex_);

  Mutex mutex_;
  std::unordered_map<std::uint64_t, std::weak_ptr<ParkedReply>> parked_ GUARDED_BY(mutex_);
  /// Requests that were interrupted when they were not parked: answered already, or on their way. The last ones.
  std::array<std::uint64_t, 64> early_ GUARDED_BY(mutex_){};
  std::size_t next_early_ GUARDED_BY(mutex_) = 0;
};

/// Whether a signal that kills it is on its way to this thread, as the kernel itself tells (its pending SIGKILL).
bool is_being_killed(const HostProcesses& processes, std::uint32_t thread);

}  // namespace stellarium::fs::fuse
