#pragma once
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <unordered_map>

#include "base/mutex.h"
#include "base/result.h"
#include "cas/worker_pool.h"
#include "cdn/objects.h"
#include "tools/protocol/channel.h"
#include "tools/transport/object_message.h"

namespace stellarium::transport {

/// Answers an ObjectClient at the other end of a socket out of a reader, a target, or both.
///
/// Memory:  objects that are being written, and answers that the client has not taken yet: what the client asks for at
///          a time. Threads: `run` is called once and returns when the client is gone.
class ObjectServer {
 public:
  /// Both are borrowed; null where there is none, and its questions are then refused.
  ObjectServer(protocol::Channel channel, cdn::ObjectReader* reader, cdn::ObjectTarget* target);
  ~ObjectServer();

  /// Errors: invalid_argument (the client breaks the protocol).
  [[nodiscard]] Result<void> run() EXCLUDES(mutex_);

 private:
  struct Writing {
    Question question;
    std::string bytes;
  };
  Result<void> take(const protocol::Frame& frame);
  Result<void> take_data(const protocol::Frame& frame);
  void begin_fetch(Question question);
  void do_target(ObjectType type, Question question, std::string bytes);
  Answer ask_target(cdn::ObjectTarget& target, ObjectType type, const Question& question, std::string& bytes);
  void answer(Answer answer, std::string bytes = {});
  /// Sends later, on a thread of its own: readers' threads must not wait for the client.
  void send_later(std::function<Result<void>()> send) EXCLUDES(mutex_);
  void send_all() EXCLUDES(mutex_);

  const protocol::Channel channel_;
  cdn::ObjectReader* const reader_;
  cdn::ObjectTarget* const target_;
  std::unordered_map<std::uint64_t, Writing> writing_;  // of the thread in `run`

  Mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<Result<void>()>> to_send_ GUARDED_BY(mutex_);
  std::size_t fetching_ GUARDED_BY(mutex_) = 0;
  bool ending_ GUARDED_BY(mutex_) = false;
  cas::WorkerPool workers_{8};
  std::thread sender_;  // last: uses the members above
};

}  // namespace stellarium::transport
