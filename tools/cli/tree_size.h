#pragma once
#include <sys/stat.h>

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>

namespace stellarium::cli {

/// Bytes of content that an import of this file has to look at: holes are none.
std::uint64_t content_bytes(const struct stat& status);

/// Adds up a tree in the background while it is already being imported, so that a display can tell how much is left.
/// Looks at names and attributes only.
class TreeSize {
 public:
  explicit TreeSize(std::string root);
  ~TreeSize();  ///< does not wait for the rest of the tree
  TreeSize(const TreeSize&) = delete;
  TreeSize& operator=(const TreeSize&) = delete;
  /// 0 until the whole tree was seen.
  std::uint64_t bytes() const { return complete_ ? bytes_.load() : 0; }

 private:
  void walk();
  std::string root_;
  std::atomic<std::uint64_t> bytes_ = 0;
  std::atomic<bool> complete_ = false, stop_ = false;
  std::thread thread_;  ///< last: uses everything above
};

}  // namespace stellarium::cli
