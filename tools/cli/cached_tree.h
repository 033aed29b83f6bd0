#pragma once
#include <time.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/mutex.h"
#include "fs/stat_cache.h"
#include "fs/tree_emitter.h"
#include "tools/cli/connection.h"
#include "tools/protocol/message.h"

namespace stellarium::cli {

/// What the emitter of a tree wants to know: from the stat cache, which it fills, and from the server.
///
/// Threads: the emitter's functions run on one thread, the others on that which follows the server's messages.
class CachedTree final : public fs::EmitObserver {
 public:
  CachedTree(fs::StatCache& cache, bool quiet);

  std::optional<fs::KnownContent> known(std::string_view path, const struct stat& status) override EXCLUDES(mutex_);
  void content_read(std::string_view path, const struct stat& status, const fs::KnownContent& content) override
      EXCLUDES(mutex_);
  void ask(const std::vector<fs::ContentSize>& contents) override;
  std::vector<bool> answer() override EXCLUDES(mutex_);
  bool knows_size(std::uint64_t size) override;
  void data_sent(std::string_view path, const struct stat& status, const fs::KnownContent& content) override
      EXCLUDES(mutex_);
  void note(const std::string& line) override;
  bool progress(std::uint64_t files, std::uint64_t bytes) override;

  /// Before emitting: whom to ask. Borrowed until `stop`.
  void ask_over(const Connection& connection) { connection_ = &connection; }
  void take(protocol::ContentAnswer answer) EXCLUDES(mutex_);
  /// The contents of files whose data was sent. Files that the server does not speak of are passed over.
  void remember(const protocol::ContentList& list) EXCLUDES(mutex_);
  /// After everything was emitted: saves the stat cache as soon as the server has spoken of all files whose data it
  /// got, while it does the rest of its work. Does nothing if it does not before `stop`.
  void save_when_remembered() EXCLUDES(mutex_);
  /// What was emitted by now, of `total` bytes.
  void describe(protocol::Progress& progress, std::uint64_t total) const;
  void ignore_cache() EXCLUDES(mutex_);
  /// The server is through with us: nothing more is emitted, and no answer will come.
  void stop() EXCLUDES(mutex_);

 private:
  struct Sent {
    struct stat status;
    fs::KnownContent content;  // but for its id
    timespec when;
  };
  Mutex mutex_;
  std::condition_variable changed_;
  fs::StatCache& cache_ GUARDED_BY(mutex_);
  std::unordered_map<std::string, Sent> sent_ GUARDED_BY(mutex_);  // by path
  std::deque<protocol::ContentAnswer> answers_ GUARDED_BY(mutex_);
  bool use_cache_ GUARDED_BY(mutex_) = true;
  std::optional<std::unordered_set<std::uint64_t>> sizes_;  // of the emitter only: of what was sent, now or earlier
  const Connection* connection_ = nullptr;
  const bool quiet_;
  std::atomic<std::uint64_t> known_bytes_ = 0, read_bytes_ = 0, files_ = 0;
  std::atomic<bool> stop_ = false;
};

}  // namespace stellarium::cli
