#pragma once
#include <fcntl.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/mutex.h"
#include "fs/fuse/backing_ids.h"
#include "fs/fuse/filesystem.h"
#include "fs/fuse/handle_table.h"
#include "fs/staged_cache.h"
#include "tier/tier.h"

namespace stellarium::fs::fuse {

/// Whether flags of open(2) ask for more than reading.
inline bool opens_for_writing(std::uint32_t flags) {
  return (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC) != 0;
}

/// A file that may be opened with a handle: what it is, and what speaks for passing it through.
struct OpenTarget {
  NodeId node;
  tier::ContentRef content;
  bool program = false;
  /// Asked when the open is decided: whether the node still has this content. Empty: it always has.
  std::function<bool()> still = {};
};

/// A file of a clone that is opened without waiting.
struct WritableTarget {
  NodeId node;
  bool for_writing = false;
  /// Opened with O_DIRECT. The kernel opens the staged file with the same flags, and does not tell it when a program
  /// takes this one back: so reads and writes come to us.
  bool direct = false;
  /// Where its bytes are, if they are staged in the clone itself; null: elsewhere.
  std::shared_ptr<StagedFile> staged = nullptr;
  /// Asked when the open is decided: whether they still are there.
  std::function<bool()> still = {};
};

/// The open files of one mount, and which body each open gets.
///
/// A node has a mode {none, cached, passthrough id}: the first open chooses it, later ones join it, and only when the
/// last handle is gone can it change, because the kernel refuses (EIO) a file that is open both ways or through two
/// ids. The choice: passthrough if the hot file is there; programs and files up to 4 MiB wait for it to be filled;
/// larger ones begin cached while it is filled in the background. No hot file (disk full, no privilege) means cached.
/// A staged file is passed through for reading and writing.
///
/// Threads: all functions may be called concurrently. Locks: `mutex_` is a leaf, but for OpenTarget::still, which reads
///          the database; the tier is never called under it, because the tier calls `let_go` under its own locks.
class OpenFiles {
 public:
  /// Files up to this size are worth waiting for when they are opened cold.
  static constexpr std::uint64_t kEagerFill = 4u << 20;

  /// `port` and `tier` are borrowed. `passthrough`: whether new opens may use it.
  OpenFiles(HandleTable table, BackingPort& port, tier::Tier& tier, bool passthrough);

  /// INIT agreed on these features; remembered for the next server. Unless `resumed`, all handles are forgotten.
  void started(std::uint64_t features, bool resumed);
  /// What an earlier server agreed on; nothing if INIT was never answered.
  std::optional<std::uint64_t> inherited_features() const;
  bool passthrough_agreed() const { return passthrough_agreed_; }

  /// Answers an OPEN for reading. A resent request gets the same handle as before. Returns whether it has to wait.
  bool open(const Request& request, const OpenTarget& target, Reply reply);
  /// Records the open of a clone's file: passed through to its staged file, or however others have it open already, or
  /// else cached. `opened` must follow. Errors: busy (ETXTBSY) if others have it open through its hot file and this one
  /// is to write (see `renew`), out_of_space.
  [[nodiscard]] Result<abi::OpenOut> open_now(std::uint64_t unique, const WritableTarget& target) EXCLUDES(mutex_);
  /// Whether the kernel took the answer of such an open.
  void opened(const abi::OpenOut& answer, NodeId node, bool taken) EXCLUDES(mutex_);
  /// Handles that are unknown (0, resent, made up) are ignored. Returns whether this was the node's last handle.
  bool release(FileHandle handle, NodeId node) EXCLUDES(mutex_);
  bool is_open(NodeId node) const EXCLUDES(mutex_);
  /// A file that is open through its hot file is to be written: its inode gets another node id, under which it has a
  /// mode of its own. Who has the old one open goes on with the old bytes, as on overlayfs. The kernel asks for the new
  /// id when it is told ESTALE. Errors: busy (ETXTBSY) after 15 times, out_of_space.
  [[nodiscard]] Result<void> renew(NodeId node) EXCLUDES(mutex_);
  /// The id under which the kernel is to know the inode of a first incarnation.
  NodeId current(NodeId first) const EXCLUDES(mutex_);
  /// Whether any incarnation is open.
  bool is_open_at_all(NodeId first) const EXCLUDES(mutex_);
  bool is_open_through_hot_file(NodeId node) const EXCLUDES(mutex_);
  /// Whether programs may be writing the node's staged file behind our back.
  bool is_open_through_staged_file(NodeId node) const EXCLUDES(mutex_);
  /// The inodes of which programs have handles that may lead to staged files, in no order; once for each node.
  std::vector<Ino> open_staged() const EXCLUDES(mutex_);
  /// Whether staged files are worth making before anything is written to them.
  bool passes_through() const { return passthrough_allowed_ && passthrough_agreed_; }
  /// The kernel has dropped the node, with its pages.
  void forgotten(NodeId node) EXCLUDES(mutex_);

  /// The tier wants to evict: gives up the content's backing id unless a handle uses it.
  bool let_go(const cas::ContentId& content);

  // What is mapped into a guest's window, for the next server.
  [[nodiscard]] Result<std::uint32_t> add_mapping(const HandleTable::Mapping& mapping) EXCLUDES(mutex_);
  void remove_mapping(std::uint32_t slot) EXCLUDES(mutex_);
  std::vector<std::pair<std::uint32_t, HandleTable::Mapping>> mappings() const EXCLUDES(mutex_);

  struct Counts {
    std::uint64_t handles = 0, backing_ids = 0;
  };
  Counts counts() const;

 private:
  struct NodeState {
    OpenMode mode = OpenMode::cached;
    std::uint32_t backing_id = 0;
    std::uint64_t handles = 0;
  };
  void restore() REQUIRES(mutex_);
  bool end(FileHandle handle, NodeId node) REQUIRES(mutex_);
  /// What an open that chooses the mode may be passed through to; no file: nothing.
  struct Body {
    BackingFile file;
    int fd = -1;
    explicit operator bool() const { return fd >= 0; }
  };
  static Body body_of(const tier::HotFilePtr& hot);
  /// Chooses the mode, records the handle and answers. `hot` may be null.
  void finish(std::uint64_t unique, const OpenTarget& target, const tier::HotFilePtr& hot, Reply reply)
      EXCLUDES(mutex_);
  Result<HandleTable::Begun> begin(std::uint64_t unique, NodeId node, const Body& body,
                                   const std::function<bool()>& still) REQUIRES(mutex_);
  bool is_hot(const NodeState& state) const REQUIRES(mutex_);
  bool is_backed_by(const NodeState& state, const BackingFile& file) const REQUIRES(mutex_);
  /// Whether pages that the kernel kept of a clone's file are still right at this open, which is cached.
  bool may_keep_pages(NodeId node) REQUIRES(mutex_);
  void note_failure(const Error& error) REQUIRES(mutex_);

  tier::Tier& tier_;
  const bool passthrough_allowed_;
  std::atomic<bool> passthrough_agreed_ = false;
  mutable Mutex mutex_;
  HandleTable table_;  // GUARDED_BY(mutex_) but for confirm()
  BackingIds backing_ids_ GUARDED_BY(mutex_);
  std::unordered_map<std::uint64_t, NodeState> nodes_ GUARDED_BY(mutex_);
  std::unordered_map<std::uint64_t, NodeId> renewed_ GUARDED_BY(mutex_);  // first incarnation → present one
  std::atomic<bool> any_renewed_ = false;                                 // mostly not, and then nobody looks
  bool failure_noted_ GUARDED_BY(mutex_) = false;
  // Pages may lie in the kernel from before a node was written through its staged file. What an earlier server did is
  // not known, so after a takeover it is the nodes whose pages are right that are remembered.
  bool resumed_ GUARDED_BY(mutex_) = false;
  std::unordered_set<std::uint64_t> stale_pages_ GUARDED_BY(mutex_), right_pages_ GUARDED_BY(mutex_);
};

}  // namespace stellarium::fs::fuse
