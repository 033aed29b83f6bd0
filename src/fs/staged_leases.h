#pragma once
#include <cstddef>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "base/result.h"
#include "fs/types.h"

namespace stellarium::fs {

/// Staged files whose bytes are in the store by now, and those who read records first and the files that they name
/// later (an export, `cat`): such a file stays until nobody is left who may have read a record that names it.
///
/// Whoever holds a lease from before it reads a record finds the file. Who cannot hold one (a mount) looks at the
/// record again when a file is gone (CloneBodies::moved_on).
/// Threads: all functions may be called concurrently. Files are removed with no lock held, by whoever ends the last
///          lease. A failure is logged; the sweep of the next start then removes the file.
class StagedLeases {
 public:
  explicit StagedLeases(std::function<Result<void>(StagedId)> remove) : remove_{std::move(remove)} {}

  /// Ends with the last copy of the pointer, which must not outlive this object.
  [[nodiscard]] std::shared_ptr<const void> take() EXCLUDES(mutex_);
  /// Removes files that no durable record names any more, now or when the last lease ends.
  void remove_when_free(std::vector<StagedId> files) EXCLUDES(mutex_);

 private:
  void end() EXCLUDES(mutex_);
  void remove_all(const std::vector<StagedId>& files) const;

  const std::function<Result<void>(StagedId)> remove_;
  Mutex mutex_;
  std::size_t leases_ GUARDED_BY(mutex_) = 0;
  std::vector<StagedId> waiting_ GUARDED_BY(mutex_);
};

}  // namespace stellarium::fs
