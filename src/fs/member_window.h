#pragma once
#include <sys/stat.h>

#include <cstddef>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "base/large_bytes.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "fs/pax_writer.h"
#include "fs/shared_loop.h"
#include "fs/tree_emitter.h"

namespace stellarium::fs {

/// Members on their way from a tree into the stream. Contents are read and hashed here, the store is asked about a
/// window of them at once, and only what it does not have is written as data; the rest as references. Contents that
/// the store cannot have are not even read: they go from their files into the stream.
///
/// Method:  three windows. While one is filled, the contents of the one before are read, and the store answers the
///          question about the one before that: nobody waits for a round trip, and walking and reading go on side by
///          side.
/// Order:   members are written in the order in which they were added. While none waits, those that need no answer go
///          into the stream at once: nothing of a tree that did not change is kept.
/// Memory:  three windows of kBytes, and at most 3 kDescriptors open files and folders.
/// Threads: one at a time. Contents are read by a helper and the caller's thread (shared_loop.h).
class MemberWindow {
 public:
  static constexpr std::size_t kBytes = 4u << 20;   ///< contents up to this size can be added
  static constexpr std::size_t kMembers = 512;      ///< a window's question has to fit into one message
  static constexpr std::size_t kDescriptors = 200;  ///< many are allowed no more than 1,024
  /// It takes as long to read less as to keep the file open.
  static constexpr std::uint64_t kMinUnread = 16u << 10;

  MemberWindow(PaxWriter& writer, EmitObserver& observer);

  /// A member without data (which may be a reference).
  [[nodiscard]] Result<void> add(PaxMember member);
  /// Where a file is, or, if it was opened already, the file.
  struct Source {
    std::shared_ptr<const UniqueFd> folder;
    std::string name;
    UniqueFd file = {};
    /// Opens it, unless it is. Errors: errno.
    int open();
  };
  /// A regular file of 1 … kBytes bytes, which is opened when it is read: opening takes as long as reading most files
  /// does. One that became shorter is filled with zeros and noted; one that vanished meanwhile is left out and noted.
  [[nodiscard]] Result<void> add_file(PaxMember member, Source source, const struct stat& status);
  /// A regular file of any size that goes into the stream as it is.
  [[nodiscard]] Result<void> add_unread(PaxMember member, UniqueFd file, const struct stat& status);
  /// Writes everything added so far.
  [[nodiscard]] Result<void> drain();

 private:
  struct Pending {
    PaxMember member;
    std::size_t data = 0, size = 0;  // where the file's bytes are in the window
    KnownContent content = {};
    bool asked = false;
    bool vanished = false;
    bool unread = false;  // it has the next one of the window's files that are not read
  };
  /// What reading a file needs and gives.
  struct File {
    std::size_t member;  // index
    Source source;
    struct stat status;
    bool shrunk = false;
    int error = 0;
  };
  struct Window {
    std::vector<Pending> members;
    LargeBytes data{kBytes};
    std::size_t used = 0;
    std::vector<File> files, unread;
    std::vector<ContentSize> questions;
    std::size_t descriptors = 0;  // of files and of folders of files to be opened
  };

  bool nobody_waits() const;
  bool is_full() const;
  Result<void> write_small(const PaxMember& member, Source source);
  void note_vanished(const PaxMember& member);
  void note_shrunk(const PaxMember& member);
  static void read(const Window& window, Pending& pending, File& file);
  /// Waits until the window's files are read, and tells the observer.
  Result<void> finish_reading(Window& window);
  /// Each window becomes the next kind.
  Result<void> turn();
  Result<void> write(Window& window);
  Result<void> write(const Window& window, Pending& pending, bool present);
  Result<void> write_unread(const File& file, Pending& pending);

  PaxWriter& writer_;
  EmitObserver& observer_;
  const bool sees_all_attributes_;  // others are not shown trusted.*
  Window filling_, being_read_, asked_;
  /// Contents whose data went into the stream lately: the store may not have read so far when it is asked.
  std::unordered_set<cas::ContentId, cas::HashOfHash> sent_;
  SharedLoop reading_;  // of being_read_
};

/// Whether a file begins as a program or library does.
bool begins_as_elf(int fd);

/// Turns a regular file's member into one that names its content (docs/formats/import-stream.md).
void make_reference(PaxMember& member, const KnownContent& content, std::uint64_t allocated);

}  // namespace stellarium::fs
