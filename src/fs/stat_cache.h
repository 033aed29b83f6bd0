#pragma once
#include <sys/stat.h>

#include <cstdint>
#include <deque>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
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
/// Memory:  80 bytes an entry; at most kMaxEntries, and files beyond that are read each time.
/// Threads: one at a time. Two commands at once: the last `save` wins.
class StatCache {
 public:
  static constexpr std::size_t kMaxEntries = 600'000;

  /// Loads `file` (docs/formats/stat-cache.md); a missing, foreign or damaged one gives an empty cache.
  explicit StatCache(std::filesystem::path file);

  /// What an earlier run remembered, or this one of a file that an earlier one knew.
  std::optional<KnownContent> find(const struct stat& status);
  void remember(const struct stat& status, const KnownContent& content, const timespec& read_at);
  /// Writes a new file beside the old one and renames it over. Entries that were neither found nor remembered for 8
  /// saves are dropped.
  [[nodiscard]] Result<void> save();
  std::size_t size() const { return known_.size() + added_.size(); }
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
    std::uint8_t unused_saves;
  };
  /// False: the file is not what `save` leaves.
  bool load();
  static Entry decode(ByteReader& reader);
  static void encode(const Entry& entry, std::string& out);
  Entry* look_up(const Key& key);
  Result<void> write(int fd) const;

  std::filesystem::path file_;
  std::vector<Entry> known_;  // from earlier runs, by key
  std::deque<Entry> added_;   // in no order, none of them known
  bool changed_ = false;
};

}  // namespace stellarium::fs
