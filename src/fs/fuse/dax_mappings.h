#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <span>

#include "base/mutex.h"
#include "fs/fuse/dax_window.h"
#include "fs/fuse/reply.h"
#include "fs/fuse/request.h"
#include "fs/types.h"
#include "tier/tier.h"

namespace stellarium::fs::fuse {

/// What is mapped into one guest's window: hot files only, whose bytes never change, and which stay as long as they are
/// mapped.
///
/// The guest manages its window: it says which part of which file goes where. What it maps over something is mapped
/// instead of that.
/// Threads: all functions may be called concurrently.
class DaxMappings {
 public:
  DaxMappings(tier::Tier& tier, std::shared_ptr<DaxWindow> window) : tier_{tier}, window_{std::move(window)} {}

  /// Whether a file is worth a part of the window, of which the guest gives 2 MiB to the smallest: programs, which many
  /// guests run, and large files.
  static bool worth(const Inode& inode);

  /// A conversation begins: nothing is mapped.
  void started() EXCLUDES(mutex_);
  /// Answers a SETUPMAPPING of a file with this content. Beyond the file's last page nothing is mapped. EINVAL, EROFS
  /// (to be written), EIO.
  void set_up(const Request& request, const tier::ContentRef& content, const abi::SetupMappingIn& in, Reply reply);
  /// Answers a REMOVEMAPPING. What is not mapped is no error.
  void remove(std::span<const abi::RemoveMappingOne> which, Reply reply) EXCLUDES(mutex_);

  std::size_t count() const EXCLUDES(mutex_);

 private:
  struct Mapping {
    std::uint64_t length;
    tier::HotFilePtr file;
  };
  void map(const tier::HotFilePtr& file, const abi::SetupMappingIn& in, Reply reply) EXCLUDES(mutex_);
  Result<void> clear(std::uint64_t place, std::uint64_t length) REQUIRES(mutex_);
  void forget_if_dropped() REQUIRES(mutex_);

  tier::Tier& tier_;
  const std::shared_ptr<DaxWindow> window_;
  mutable Mutex mutex_;                        // held while the monitor is waited for: one change at a time
  std::uint64_t life_ GUARDED_BY(mutex_) = 0;  // of the window, in which the mappings were made
  std::map<std::uint64_t, Mapping> mappings_ GUARDED_BY(mutex_);  // by place; they do not overlap
};

}  // namespace stellarium::fs::fuse
