#pragma once
#include <sys/stat.h>

#include <cstddef>
#include <memory>
#include <unordered_set>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "fs/pax_writer.h"
#include "fs/shared_loop.h"
#include "fs/tree_emitter.h"

namespace stellarium::fs {

/// Members on their way from a tree into the stream. Contents are read and hashed here, the store is asked about a
/// window of them at once, and only what it does not have is written as data; the rest as references.
///
/// Method:  two windows. While one is filled, the store answers the question about the other, so nobody waits for a
///          round trip.
/// Order:   members are written in the order in which they were added.
/// Memory:  two windows of kBytes, and at most kFiles open files.
/// Threads: one at a time. Contents are read by the caller's thread and a helper (shared_loop.h).
class MemberWindow {
 public:
  static constexpr std::size_t kBytes = 4u << 20;  ///< contents up to this size can be added
  static constexpr std::size_t kMembers = 512;     ///< a window's question has to fit into one message
  static constexpr std::size_t kFiles = 128;

  MemberWindow(PaxWriter& writer, EmitObserver& observer);

  /// A member without data (which may be a reference).
  [[nodiscard]] Result<void> add(PaxMember member);
  /// A regular file of 1 … kBytes bytes. One that became shorter is filled with zeros and noted.
  [[nodiscard]] Result<void> add_file(PaxMember member, UniqueFd file, const struct stat& status);
  /// Writes everything added so far.
  [[nodiscard]] Result<void> drain();

 private:
  struct Pending {
    PaxMember member;
    std::size_t data = 0, size = 0;  // where the file's bytes are in the window
    KnownContent content;
    bool asked = false;
  };
  /// A file of the window that is being filled: what reading it needs and gives.
  struct File {
    std::size_t member;  // index
    UniqueFd fd;
    struct stat status;
    bool shrunk = false;
    int error = 0;
  };
  struct Window {
    std::vector<Pending> members;
    std::unique_ptr<std::byte[]> data{new std::byte[kBytes]};
    std::size_t used = 0;
    std::vector<ContentSize> questions;
  };

  /// Reads and hashes the files of the window that was filled.
  Result<void> read_files();
  static void read(const Window& window, Pending& pending, File& file);
  /// Asks about the window that was filled and writes the one before it.
  Result<void> turn();
  Result<void> write(Window& window);
  Result<void> write(const Window& window, Pending& pending, bool present);

  PaxWriter& writer_;
  EmitObserver& observer_;
  const bool sees_all_attributes_;  // others are not shown trusted.*
  Window filling_, asked_;
  std::vector<File> files_;  // of filling_
  /// Contents whose data went into the stream lately: the store may not have read so far when it is asked.
  std::unordered_set<cas::ContentId, cas::HashOfHash> sent_;
  SharedLoop reading_;
};

/// Turns a regular file's member into one that names its content (docs/formats/import-stream.md).
void make_reference(PaxMember& member, const KnownContent& content, std::uint64_t allocated);

}  // namespace stellarium::fs
