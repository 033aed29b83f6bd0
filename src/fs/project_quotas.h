#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>

#include "base/result.h"
#include "base/unique_fd.h"

namespace stellarium::fs {

/// The project quotas of the host's file system (ext4 mounted with prjquota, XFS with pquota): it counts the blocks of
/// all files with one project number, and refuses what goes beyond their limit with EDQUOT, whoever writes them.
///
/// Threads: all functions may be called concurrently. Cost: one or two system calls each.
/// Errors:  io, not_found (a project that nobody used is no error: it has nothing).
class ProjectQuotas {
 public:
  /// Null: the file system of `dir` has none that are enforced, or this process may not use them.
  static std::unique_ptr<ProjectQuotas> of(const std::filesystem::path& dir);

  /// A number that no file and no limit has: random, so that two stores on one file system do not meet.
  [[nodiscard]] Result<std::uint32_t> find_free() const;
  /// Makes the file count for `project` (0: for none). Whoever opened it goes on.
  [[nodiscard]] Result<void> label(int fd, std::uint32_t project) const;
  [[nodiscard]] Result<std::uint32_t> label_of(int fd) const;
  /// 0: no limit. Rounded down to KiB.
  [[nodiscard]] Result<void> limit(std::uint32_t project, std::uint64_t bytes) const;
  struct Usage {
    std::uint64_t bytes = 0, files = 0, limit = 0;
  };
  [[nodiscard]] Result<Usage> usage(std::uint32_t project) const;

 private:
  explicit ProjectQuotas(UniqueFd dir) : dir_{std::move(dir)} {}
  const UniqueFd dir_;
};

}  // namespace stellarium::fs
