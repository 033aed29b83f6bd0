#pragma once
#include <memory>
#include <span>
#include <vector>

#include "base/mutex.h"
#include "base/result.h"
#include "cas/hash.h"
#include "cas/id_filter.h"

namespace stellarium::cas {

/// What open sessions rely on, so that gc keeps it although nothing that is published refers to it yet.
///
/// Rule:    a session touches an id *before* it looks whether the store has it; gc forgets an id only inside
///          `unless_touched`. So either gc sees the touch and keeps the id, or the session's look-up misses and it
///          stores the bytes anew. No session has to end for gc to get on, and no clock decides anything.
/// Threads: all functions may be called concurrently.
class SessionGuards {
 public:
  class Guard {
   public:
    explicit Guard(SessionGuards& guards) : guards_{guards} {}
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;
    ~Guard() { guards_.end(*this); }
    void touch(const Hash& id) EXCLUDES(guards_.mutex_);

   private:
    friend class SessionGuards;
    SessionGuards& guards_;
    std::shared_ptr<IdFilter> touched_ = std::make_shared<IdFilter>();
  };
  std::unique_ptr<Guard> begin() EXCLUDES(mutex_);

  /// While it lives, guards of sessions that end are kept too: what they published came after gc read its roots.
  class Collection {
   public:
    explicit Collection(SessionGuards& guards);
    Collection(const Collection&) = delete;
    Collection& operator=(const Collection&) = delete;
    ~Collection();

    /// Calls `forget` with those of `ids` that no session relies on, and lets no session touch anything meanwhile.
    template <typename Forget>
    auto unless_touched(std::span<const Hash> ids, Forget forget) {
      MutexLock lock{guards_.mutex_};
      return forget(guards_.untouched(ids));
    }

   private:
    SessionGuards& guards_;
  };

 private:
  void end(const Guard& guard) EXCLUDES(mutex_);
  /// Positions in `ids`.
  std::vector<std::size_t> untouched(std::span<const Hash> ids) const REQUIRES(mutex_);

  Mutex mutex_;
  std::vector<std::shared_ptr<IdFilter>> open_ GUARDED_BY(mutex_);
  std::vector<std::shared_ptr<IdFilter>> ended_ GUARDED_BY(mutex_);  // during a collection
  unsigned collections_ GUARDED_BY(mutex_) = 0;
};

}  // namespace stellarium::cas
