#pragma once
#include <condition_variable>
#include <functional>
#include <memory>
#include <thread>
#include <unordered_map>

#include "base/mutex.h"
#include "base/result.h"
#include "cdn/objects.h"
#include "tools/protocol/channel.h"
#include "tools/transport/object_message.h"

namespace stellarium::transport {

/// Objects of a remote, by way of the process at the other end of a socket (object_server.h), which alone speaks to it.
///
/// Trust:   none in the other end: what it sends is checked for its form and size; who wants bytes compares them.
/// Threads: all functions may be called concurrently; those of ObjectTarget wait for their answer. Answers are taken,
///          and `done` is called, on one thread of its own.
/// Errors:  unavailable (the other process is gone), invalid_argument (it breaks the protocol: it is then not listened
///          to any more), and what it reports.
class ObjectClient final : public cdn::ObjectReader, public cdn::ObjectTarget {
 public:
  explicit ObjectClient(protocol::Channel channel);
  ~ObjectClient() override;
  ObjectClient(const ObjectClient&) = delete;
  ObjectClient& operator=(const ObjectClient&) = delete;

  bool is_lost() const EXCLUDES(mutex_);        ///< the other process is gone
  void close() const { channel_.shut_down(); }  ///< what is asked for then ends with `unavailable`

  void fetch(cdn::ObjectRequest request, Done done) override EXCLUDES(mutex_);
  Counters counters() const override EXCLUDES(mutex_);

  Result<std::optional<std::uint64_t>> size_of(const std::string& path) override;
  Result<std::optional<std::string>> read(const std::string& path, std::uint64_t limit) override;
  Result<void> write(const std::string& path, ByteSpan bytes, Existing existing) override;
  Result<void> list(const std::string& prefix, const std::function<Result<void>(const Listed&)>& found) override;
  Result<void> remove(const std::string& path) override;

 private:
  /// A question that waits for its answer.
  struct Asked {
    std::uint64_t limit = 0;  ///< bytes that may come
    bool lists = false;       ///< or objects that are listed
    std::string bytes;
    std::vector<Listed> listed;
    std::function<void(Result<Answer>, Asked&)> ended;
  };
  using AskedPtr = std::shared_ptr<Asked>;
  void ask(ObjectType type, Question question, const AskedPtr& asked, ByteSpan data = {}) EXCLUDES(mutex_);
  /// Asks, and waits.
  Result<Answer> ask_and_wait(ObjectType type, Question question, const AskedPtr& asked, ByteSpan data = {});
  void receive() EXCLUDES(mutex_);
  Result<void> take(const protocol::Frame& frame) EXCLUDES(mutex_);
  AskedPtr find(std::uint64_t number) EXCLUDES(mutex_);
  void end_all(const Error& error) EXCLUDES(mutex_);

  const protocol::Channel channel_;
  mutable Mutex mutex_;
  std::unordered_map<std::uint64_t, AskedPtr> asked_ GUARDED_BY(mutex_);
  std::uint64_t next_ GUARDED_BY(mutex_) = 1;
  Counters counters_ GUARDED_BY(mutex_);
  std::optional<Error> lost_ GUARDED_BY(mutex_);
  std::thread receiver_;  // last: uses the members above
};

}  // namespace stellarium::transport
