#pragma once
#include <sys/stat.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "fs/byte_stream.h"
#include "fs/stat_cache.h"

namespace stellarium::fs {

/// A content that the store may have.
struct ContentSize {
  cas::ContentId id;
  std::uint64_t size = 0;
};

/// What the emitter asks and tells while it walks. Called on the emitting thread, in stream order.
class EmitObserver {
 public:
  virtual ~EmitObserver() = default;
  /// The content of a regular file, if it is known without reading it (stat cache); its data is then not sent.
  virtual std::optional<KnownContent> known(std::string_view /*path*/, const struct stat& /*status*/) { return {}; }
  /// This content was read completely from a file that looked like this before.
  virtual void content_read(std::string_view /*path*/, const struct stat& /*status*/, const KnownContent& /*content*/) {
  }
  /// Begins to ask the store which of these contents it has; at most two questions are open at a time.
  virtual void ask(const std::vector<ContentSize>& /*contents*/) {}
  /// Waits for the answer to the oldest open question. What is not answered counts as "no": its data is sent then.
  virtual std::vector<bool> answer() { return {}; }
  /// Whether the store may have a content of this size, which may become one by being sent now. If not, a file is sent
  /// unread: nothing is won by asking. A wrong answer costs time only.
  virtual bool knows_size(std::uint64_t /*size*/) { return true; }
  /// The data of this regular file is sent, unread; the store will answer with its content id, in the same order.
  virtual void data_sent(std::string_view /*path*/, const struct stat& /*status*/, const KnownContent& /*but for id*/) {
  }
  virtual void note(const std::string& /*line*/) {}  ///< a socket was skipped, a file shrank while it was read
  virtual bool progress(std::uint64_t /*files*/, std::uint64_t /*bytes*/) {
    return true;
  }  ///< false: stop, `cancelled`
};

struct EmitOptions {
  bool one_file_system = true;  ///< do not descend into other mounts (the mount point itself is emitted)
  std::vector<std::string>
      exclude;  ///< fnmatch(3) patterns, tried against the path below the root and against the last name
};

/// Writes the tree below the directory `root` as a pax stream (docs/formats/import-stream.md).
///
/// Everything is emitted in byte order of names, parents first, never following a symlink: hard links as links to their
/// first name, holes as sparse maps, all extended attributes in raw form (file capabilities, POSIX ACLs), nanosecond
/// times, names as the bytes they are. Runs in the command process with the user's rights. A file that changes while it
/// is read is padded or cut to the size first seen, and noted. Errors: permission and io name the path; a vanished
/// entry is noted and skipped. Cost:   about 10 µs a file, and one read of the data that is not `known`; of what is
/// read, the store gets only what it answers not to have. Memory: two windows (member_window.h).
Result<void> emit_tree(int root, ByteOutput& out, const EmitOptions& options, EmitObserver& observer);

/// The reserved attribute by which a member names its content instead of carrying it: "HEX SIZE ALLOCATED ELF",
/// where ELF is 1 if the content begins with that magic number, else 0 (docs/formats/import-stream.md).
/// No Linux file system can hold an attribute of this name, so a tree cannot contain it by accident.
inline constexpr const char* kContentAttribute = "stellarium.content";

}  // namespace stellarium::fs
