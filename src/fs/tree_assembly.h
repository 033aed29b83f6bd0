#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "fs/entry_sorter.h"
#include "fs/layer_entry.h"
#include "fs/path_key.h"
#include "fs/scratch_file.h"

namespace stellarium::fs {

/// What a path key stands for in the sorter of a LayerBuilder.
enum class MemberKind : std::uint8_t {
  made_parent = 0,  ///< a directory that must exist because something lies below it
  inode = 1,        ///< a member with attributes
  link = 2,         ///< a hard link; the value names its target
  reference = 3,    ///< lies under the *target's* key: somebody links to it
};

/// The payload of a member with attributes; `nlink` and `parent` are left open.
std::string encode_attributes(const Inode& inode, const Xattrs& xattrs);
/// What encode_attributes made, and nothing else (corrupt).
Result<void> decode_attributes(std::string_view attributes, Inode& inode, Xattrs& xattrs);

/// Makes one tree out of sorted members: decides which member a path finally is, checks that the tree can be, resolves
/// hard links, and then hands out its entries in layer order.
///
/// Passes:  one over the sorted members, which leaves one record a name in a scratch file; links are resolved in
///          memory, by rank (the position of a name in layer order); one over the scratch file.
class TreeAssembly {
 public:
  explicit TreeAssembly(std::filesystem::path scratch);

  Result<void> take(EntrySorter& members);
  Result<void> resolve_links();

  /// What equal ones are of becomes equal layers. After resolve_links().   Cost: 1 ms for each 5 MB of names.
  Result<cas::Hash> fingerprint() const;

  std::uint64_t names() const { return names_; }
  std::uint64_t inodes() const { return names_ - later_names_; }
  /// The entries in layer order; nothing at the end. After resolve_links().
  Result<std::optional<LayerEntry>> next();

  static std::string encode_member(MemberKind kind, std::uint64_t number, std::string_view payload);

 private:
  using Rank = std::uint32_t;
  struct Group;            // all members of one path
  struct Link {            // a name that is a hard link
    std::uint64_t number;  // of the member
    Rank rank;
  };
  struct Target {  // a name that hard links lead to
    Rank rank;
    std::uint64_t record;  // where it is in nodes_
  };
  struct LinkName {  // one of several names of an inode
    Rank rank;
    std::uint32_t inode;  // index into shared_
  };
  struct Shared {  // an inode of several names
    std::uint64_t record;
    std::uint32_t nlink;
    Ino ino;  // 0 until its first name has come
    std::uint8_t type;
  };

  Result<void> finish_group(Group& group);
  Result<void> check_references(const Group& group, std::uint64_t record);
  Result<std::uint32_t> find_parent(std::string_view key);
  Result<Rank> follow(Rank from);
  Result<void> take_attributes(LayerEntry& entry, std::string_view attributes);

  std::uint64_t names_ = 0, later_names_ = 0;
  ScratchFile nodes_;            // one record a name, in layer order
  ScratchFile directory_keys_;   // path keys of directories, in layer order
  ScratchFile::Reader parents_;  // walks over directory_keys_ behind the names
  std::string parent_key_;       // what parents_ stands at
  std::uint32_t parent_index_ = 0;
  bool parent_known_ = false;
  std::uint64_t last_hash_ = 0;  // of the name before, in the same directory
  std::uint32_t last_parent_ = 0;
  unsigned rank_in_hash_ = 0;
  std::vector<std::uint32_t> children_, subdirectories_;  // by directory
  std::vector<Link> links_;                               // ascending ranks
  std::vector<Link> references_;                          // the rank is that of the name to which the member links
  std::vector<Rank> link_targets_;                        // of links_, in their order
  std::vector<Target> targets_;                           // ascending ranks
  std::vector<LinkName> link_names_;                      // ascending ranks
  std::vector<Shared> shared_;

  ScratchFile::Reader emitted_;
  Rank next_rank_ = 0;
  std::size_t next_link_name_ = 0;
  Ino last_ino_ = 0;
  std::vector<Ino> directory_inos_;
};

}  // namespace stellarium::fs
