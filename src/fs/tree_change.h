#pragma once
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "cas/database.h"
#include "fs/absent_names.h"
#include "fs/layer_reader.h"
#include "fs/record_cache.h"
#include "fs/types.h"

namespace stellarium::fs {

/// The answer to a request that cannot be fulfilled as things are: neither disk nor records are to blame.
[[nodiscard]] tl::unexpected<Error> refuse(int sys_errno, std::string_view what);

/// What is left of an inode of a lower layer that has no link and is not used either: the word that it is gone.
Inode forgotten_inode();
bool is_forgotten(const Inode& inode);

/// One change of a clone while it is being made: the records that it read, each once, and what becomes of them. It does
/// not write; `finish` hands out what is to be written.
///
/// Threads: one; nobody else changes the same clone meanwhile.
/// Errors:  those of refuse(); corrupt, io.
class TreeChange {
 public:
  struct Node {
    Ino ino = 0;
    Inode inode = {};
    LayerId layer = 0;     ///< where its record is; 0: it is new
    bool changed = false;  ///< whether it is to be written
    /// Attributes to set, or (nothing) to remove. Whoever fills it keeps `inode.has_xattrs` right.
    std::map<std::string, std::optional<std::string>, std::less<>> xattrs = {};
  };
  using Place = LayerReader::Place;

  /// `tree`: all layers, the written one first; `below`: the others; `records` and `absent`: what is known of `tree`
  /// without asking it, if anything is. All outlive the change.
  TreeChange(const LayerReader& tree, const LayerReader& below, RecordCache* records = nullptr,
             AbsentNames* absent = nullptr);

  const Timespec& now() const { return now_; }  ///< the time of everything that this change does

  // Nodes stay where they are until the change is gone.
  Result<Node*> node(Ino ino);                         ///< ESTALE
  Result<Node*> directory(Ino ino);                    ///< also ENOTDIR, and ENOENT if it was removed
  Result<Node*> child(const Place& entry);             ///< what an entry leads to; corrupt if that is missing
  Node* add(Ino ino, Inode inode);                     ///< a new one
  Result<bool> is_below(Ino ino, Ino ancestor) const;  ///< or the same: of directories

  Result<Place> place(const Node& directory, std::string_view name) const;     ///< EINVAL, ENAMETOOLONG, ENOSPC
  Result<Place> existing(const Node& directory, std::string_view name) const;  ///< also ENOENT
  Result<Place> vacant(const Node& directory, std::string_view name) const;    ///< also EEXIST
  /// Makes the name at `place` lead to `node`, or to nothing. The directory's times follow; link counts are the
  /// caller's.
  void enter(Node& directory, const Place& place, const Node& node);
  [[nodiscard]] Result<void> remove(Node& directory, const Place& place);
  /// Takes one link from what is no directory, or both from one that is empty (ENOTEMPTY) and lies in `parent`.
  [[nodiscard]] Result<void> drop_link(Node& node) const;
  [[nodiscard]] Result<void> drop_directory(Node& node, Node& parent) const;

  const std::deque<Node>& nodes() const { return nodes_; }
  bool changes_names() const { return changes_names_; }

  /// Everything as one batch. EINVAL for an inode that cannot be (why_impossible).
  Result<cas::Database::Batch> finish();

 private:
  Result<Node*> load(Ino ino);  // nullptr if there is none
  Result<void> put(const Node& node);
  void touch(Node& directory) const;

  const LayerReader& tree_;
  const LayerReader& below_;
  RecordCache* const records_;
  AbsentNames* const absent_;
  const Timespec now_;
  bool changes_names_ = false;
  std::deque<Node> nodes_;  // three to five
  cas::Database::Batch batch_;
};

}  // namespace stellarium::fs
