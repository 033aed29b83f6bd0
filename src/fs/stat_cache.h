#pragma once
#include <sys/stat.h>

#include <cstdint>
#include <deque>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/mapped_file.h"
#include "base/result.h"
#include "cas/hash.h"

namespace stellarium::fs {

/// What can be said about a regular file without reading it again.
struct KnownContent {
  cas::ContentId id;
  bool elf = false;   ///< begins with the magic number of a program or library
  bool bare = false;  ///< has no extended attribute that anybody can see (who sets one changes ctime)
  bool operator==(const KnownContent&) const = default;
};

/// What the command process remembers of files that it sent before: so that a second import of a tree reads no content.
///
/// A file is taken for unchanged if device, inode, size, mtime and ctime (nanoseconds) are. A file that changed within
/// two seconds of being read is not remembered, because a later change could leave the same times (git calls such
/// entries racy). The cache is a hint: the store still has to hold the content. Losing the file costs time only, so
/// damage empties it silently.
///
/// Cost:    loading and saving are about 50 ns an entry, a look-up is a binary search.
/// Memory:  the file is mapped; 2 bits an entry, 96 bytes a remembered one. Files beyond kMaxEntries are read each
/// time. Threads: one at a time. Two commands at once: the last `save` wins.
class StatCache {
 public:
  static constexpr std::size_t kMaxEntries = 600'000;

  /// Loads `file` (docs/formats/stat-cache.md); a missing, foreign or damaged one gives an empty cache.
  explicit StatCache(std::filesystem::path file);

  /// What an earlier run remembered and this one did not correct.
  std::optional<KnownContent> find(const struct stat& status);
  void remember(const struct stat& status, const KnownContent& content, const timespec& read_at);
  /// Writes a new file beside the old one and renames it over. Entries that were neither found nor remembered for 8
  /// saves are dropped.
  [[nodiscard]] Result<void> save();
  std::size_t size() const;
  /// Sizes of the files that are known, in no order and some of them repeatedly; smaller ones are left out.
  std::vector<std::uint64_t> file_sizes(std::uint64_t smallest) const;

 private:
  struct Key {
    std::uint64_t device, inode;
    auto operator<=>(const Key&) const = default;
  };
  struct Entry {
    Key key;
    std::uint64_t size;
    std::int64_t mtime_ns, ctime_ns;
    KnownContent content;
  };
  /// False: the file is not what `save` leaves.
  bool load();
  ByteSpan record(std::size_t index) const;  ///< of an earlier run
  Key key(std::size_t index) const;
  std::optional<std::size_t> look_up(const Key& key) const;
  /// Where this run says nothing else of it, and it was not unused for too long.
  bool stays(std::size_t index) const;
  static Entry decode(ByteSpan record);
  static void encode(const Entry& entry, std::string& out);
  Result<void> write(int fd) const;

  std::filesystem::path file_;
  MappedFile mapped_;
  std::size_t known_ = 0;                // records in it, ascending by key
  std::vector<bool> found_, corrected_;  // of each of them: whether this run did
  std::size_t corrections_ = 0;          // how many are
  std::deque<Entry> added_;              // in no order
  bool changed_ = false;
};

}  // namespace stellarium::fs
