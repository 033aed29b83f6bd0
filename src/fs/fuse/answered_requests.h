#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/bytes.h"
#include "base/mutex.h"
#include "cas/database.h"
#include "fs/fuse/request.h"

namespace stellarium::fs::fuse {

/// The answers of requests that changed something, kept in the very batch that changed it: when a server was killed
/// between the change and its answer, the kernel sends the request again, and the next server answers instead of doing
/// it twice.
///
/// Shape:   one record for each request that is being answered, in a slot that is used again once the answer was
///          handed over (docs/formats/database.md, family `answer`). So there are as many as there were workers. What
///          an earlier server left stays for a while: this one, too, may be killed before it is asked again.
/// Threads: all functions may be called concurrently.
class AnsweredRequests {
 public:
  AnsweredRequests(cas::Database& database, std::uint64_t mount) : database_{database}, mount_{mount} {}

  /// The conversation begins anew, or is taken over with what the server before answered.
  [[nodiscard]] Result<void> started(bool resumed) EXCLUDES(mutex_);
  /// The answer of a request that comes a second time; nothing if it was not executed the first time.
  std::optional<std::string> find(const Request& request) const EXCLUDES(mutex_);

  /// Whether a change that failed is to stay unanswered, so that the next server tries it: this one is about to end,
  /// because its database found the disk full. `may_fail`: not of a removal, which is what helps; of the others one is
  /// told, so that programs hear of it.
  bool left_to_next_server(const Error& error, bool may_fail);

  /// A slot for as long as one request is being answered.
  class Slot {
   public:
    Slot(AnsweredRequests& all, const Request& request) : all_{all}, request_{request.id()}, number_{all.take()} {}
    Slot(const Slot&) = delete;
    Slot& operator=(const Slot&) = delete;
    ~Slot() { all_.give_back(number_); }
    void note(cas::Database::Batch& batch, ByteSpan payload) const;

   private:
    AnsweredRequests& all_;
    const std::uint64_t request_;
    const std::uint32_t number_;
  };

  /// Forgets everything of a mount that is gone.
  static Result<void> erase(cas::Database& database, std::uint64_t mount);

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::seconds kResent{10};  // by then the kernel has sent again what it will

  std::uint32_t take() EXCLUDES(mutex_);
  void give_back(std::uint32_t slot) EXCLUDES(mutex_);

  cas::Database& database_;
  const std::uint64_t mount_;
  std::atomic<bool> told_ = false;
  mutable Mutex mutex_;
  std::vector<std::uint32_t> free_ GUARDED_BY(mutex_), inherited_ GUARDED_BY(mutex_);
  Clock::time_point inherited_until_ GUARDED_BY(mutex_);
  std::uint32_t next_ GUARDED_BY(mutex_) = 0;
  std::unordered_map<std::uint64_t, std::string> earlier_ GUARDED_BY(mutex_);  // by request id
};

}  // namespace stellarium::fs::fuse
