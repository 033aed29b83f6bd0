#pragma once
#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

#include "base/result.h"

namespace stellarium::fs {

/// Reads the extended attributes of entries of a host directory, never following a symlink: by the system calls of
/// Linux 6.13 that take a directory and a name, on older kernels through /proc/self/fd, which walks three more path
/// components each time.
///
/// Threads: one at a time.
class XattrReader {
 public:
  using Xattrs = std::vector<std::pair<std::string, std::string>>;

  /// `at_calls` false: as on an older kernel.
  explicit XattrReader(bool at_calls = true) : at_calls_{at_calls} {}

  /// All attributes of `name` in the directory `dir`, by name. `path` is for messages. A file system without attributes
  /// has none.
  [[nodiscard]] Result<Xattrs> all_of(int dir, const std::string& name, const std::string& path);

 private:
  ssize_t list(int dir, const std::string& name);
  ssize_t get(int dir, const std::string& name, const char* attribute, std::string& value) const;

  bool at_calls_;
  std::vector<char> names_ = std::vector<char>(512);
};

}  // namespace stellarium::fs
