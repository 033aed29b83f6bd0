#pragma once
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <span>

#include "base/mutex.h"
#include "base/unique_fd.h"
#include "fs/fuse/dax_window.h"
#include "fs/fuse/open_files.h"
#include "fs/fuse/reply.h"
#include "fs/fuse/request.h"
#include "fs/types.h"
#include "tier/tier.h"

namespace stellarium::fs::fuse {

/// What is mapped into one guest's window: hot files, whose bytes never change, and which stay as long as they are
/// mapped; copies of what has no hot file, because the host has no room for it.
///
/// The guest manages its window: it says which part of which file goes where. What it maps over something is mapped
/// instead of that.
/// Restart: what is mapped is noted before it is, and struck off when it is not any more; what a server that was killed
///          has noted is unmapped by the next one when its place is needed.
/// Memory:  a copy takes as much as it has bytes, so all copies at most as much as the window.
/// Threads: all functions may be called concurrently.
class DaxMappings {
 public:
  /// `log`: where it notes what is mapped, for the next server.
  DaxMappings(tier::Tier& tier, std::shared_ptr<DaxWindow> window, std::shared_ptr<OpenFiles> log)
      : tier_{tier}, window_{std::move(window)}, log_{std::move(log)} {}

  /// Whether a file is worth a part of the window, of which the guest gives 2 MiB to the smallest: programs, which many
  /// guests run, and large files.
  static bool worth(const Inode& inode);

  /// A conversation begins: nothing is mapped. Or one goes on (`resumed`), and there is what the server before mapped,
  /// or was about to.
  void started(bool resumed) EXCLUDES(mutex_);
  /// Answers a SETUPMAPPING of a file with this content. Beyond the file's last page nothing is mapped, and what that
  /// page has behind the file's end is zeros. EINVAL, EROFS (to be written), EIO.
  void set_up(const Request& request, const tier::ContentRef& content, const abi::SetupMappingIn& in, Reply reply);
  /// Answers a REMOVEMAPPING. What is not mapped is no error.
  void remove(std::span<const abi::RemoveMappingOne> which, Reply reply) EXCLUDES(mutex_);

  std::size_t count() const EXCLUDES(mutex_);

 private:
  struct Mapping {
    std::uint64_t length;
    tier::HotFilePtr file;  // null: a copy, or another server's, which whoever maps it keeps
    std::uint32_t noted;    // where in the log
    bool certain;           // or only noted, by a server that was killed before it had it, or had let it go
  };
  void map(const tier::HotFilePtr& file, const abi::SetupMappingIn& in, Reply reply) EXCLUDES(mutex_);
  void map_copy(const tier::ContentRef& content, const abi::SetupMappingIn& in, Reply reply) EXCLUDES(mutex_);
  Result<void> map_file(const tier::HotFilePtr& file, std::uint64_t place, std::uint64_t offset, std::uint64_t length)
      REQUIRES(mutex_);
  Result<void> map_piece(std::uint64_t place, int fd, std::uint64_t offset, std::uint64_t length,
                         const tier::HotFilePtr& file) REQUIRES(mutex_);
  /// A file in memory with these bytes of the content, and zeros up to the end of a page.
  Result<UniqueFd> copy_of(const tier::ContentRef& content, std::uint64_t offset, std::uint64_t length);
  void answer(const Result<void>& done, Reply reply);
  Result<void> clear(std::uint64_t place, std::uint64_t length) REQUIRES(mutex_);
  void forget_if_dropped() REQUIRES(mutex_);
  void strike_all() REQUIRES(mutex_);

  tier::Tier& tier_;
  const std::shared_ptr<DaxWindow> window_;
  const std::shared_ptr<OpenFiles> log_;
  std::atomic<bool> copies_told_ = false;
  std::atomic<unsigned> complaints_ = 0;
  mutable Mutex mutex_;  // held while the monitor is waited for: one change at a time
  static constexpr std::uint64_t kNoLife = 0;
  std::uint64_t life_ GUARDED_BY(mutex_) = kNoLife;  // of the window, in which the mappings were made
  bool resumed_ GUARDED_BY(mutex_) = false;
  bool whole_pages_only_ GUARDED_BY(mutex_) = false;  // the monitor maps no page of which a file has only a part
  std::map<std::uint64_t, Mapping> mappings_ GUARDED_BY(mutex_);  // by place; they do not overlap
};

}  // namespace stellarium::fs::fuse
