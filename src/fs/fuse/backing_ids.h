#pragma once
#include <cstdint>
#include <optional>
#include <unordered_map>

#include "base/result.h"
#include "cas/hash.h"
#include "fs/fuse/handle_table.h"
#include "tier/tier.h"

namespace stellarium::fs::fuse {

/// The kernel side of passthrough: turns a descriptor into a backing id of one connection, and gives ids back.
class BackingPort {
 public:
  virtual ~BackingPort() = default;
  /// Errors: permission (no CAP_SYS_ADMIN in the initial user namespace), not_supported (ELOOP: the hot folder lies on
  /// a stacked file system), io.
  [[nodiscard]] virtual Result<std::uint32_t> open(int fd) = 0;
  /// … of a file that programs write: what they fill is not the host's reserve.
  [[nodiscard]] virtual Result<std::uint32_t> open_for_writing(int fd) = 0;
  virtual void close(std::uint32_t id) = 0;  ///< unknown ids are ignored
};

/// The backing ids of one connection: one per content, kept while nobody needs the room; one per staged file, closed
/// with its last user, because it keeps the file open for writing.
///
/// The kernel compares backing objects: a file that is open through one id cannot be opened through another, even one
/// of the same bytes. So a content has one id, shared by all its inodes and recorded in the handle table before its
/// first use, and a server that takes over goes on with the recorded ones. Threads: not synchronized (OpenFiles holds
/// its lock).
class BackingIds {
 public:
  /// Takes over what the table records and closes ids that were made but not yet recorded when the last server died.
  BackingIds(BackingPort& port, HandleTable& table);

  /// The id of this file, which `fd` is, and one more user of it. Errors: those of BackingPort::open, out_of_space.
  [[nodiscard]] Result<std::uint32_t> acquire(const BackingFile& file, int fd);
  void add_user(std::uint32_t id);
  void release(std::uint32_t id);
  std::optional<BackingFile> file_of(std::uint32_t id) const;
  /// Closes the content's id so that its hot file can be evicted. False if a handle still uses it.
  bool let_go(const cas::ContentId& content);

  std::size_t size() const { return by_file_.size(); }
  /// Forgets everything without closing: the connection is a new one.
  void clear();

 private:
  struct Entry {
    std::uint32_t id, slot;
    std::uint64_t users = 0;
  };
  struct HashOfFile {
    std::size_t operator()(const BackingFile& file) const noexcept {
      return file.staged != 0 ? file.staged : cas::HashOfHash{}(file.content.id);
    }
  };
  struct SameFile {  // the size follows from the content's id
    bool operator()(const BackingFile& left, const BackingFile& right) const noexcept {
      return left.staged == right.staged && left.content.id == right.content.id;
    }
  };
  using ByFile = std::unordered_map<BackingFile, Entry, HashOfFile, SameFile>;
  void close(ByFile::iterator entry);

  BackingPort& port_;
  HandleTable& table_;
  ByFile by_file_;
  std::unordered_map<std::uint32_t, BackingFile> file_of_;
};

}  // namespace stellarium::fs::fuse
