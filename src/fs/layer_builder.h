#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/result.h"
#include "cas/content_store.h"
#include "cas/database.h"
#include "fs/entry_sorter.h"
#include "fs/layer_entry.h"
#include "fs/tree_assembly.h"
#include "fs/types.h"

namespace stellarium::fs {

/// encode_attributes (tree_assembly.h) of what somebody else says of a member.
/// Errors: invalid_argument, for what no inode can be.
Result<std::string> checked_attributes(const Inode& inode, const Xattrs& xattrs);

/// Builds the records of one new layer from members that come in any order: `add` and `add_link` any number of them,
/// then `assemble` once, then `seal` once, if it is worth it.
///
/// Rules (docs/formats/import-stream.md): of members with one path the last one wins; parents that no member describes
/// are made (root:root, 0755, time 0); a hard link stands for whatever finally is at its target, which may come later.
/// Numbering, keys and the layer object depend on the resulting tree only.
///
/// Errors:  invalid_argument, naming the member, for every tree that cannot be; out_of_space, io.
/// Memory:  `Options::sort_memory`, about 16 bytes a directory and 40 a hard link, the table writers'.
/// Threads: one at a time.
class LayerBuilder {
 public:
  struct Options {
    std::size_t sort_memory = 48u << 20;  ///< entries beyond it are sorted in files
  };
  LayerBuilder(std::filesystem::path scratch, const Options& options);

  /// `path` is a normal path (path_key.h); `nlink`, `parent` and `has_xattrs` of the inode are worked out, whatever
  /// they are.
  Result<void> add(std::string_view path, const Inode& inode, const Xattrs& xattrs);
  Result<void> add_link(std::string_view path, std::string_view target);

  /// Makes one tree of everything added. Returns its fingerprint: equal ones are sealed as equal layers.
  Result<cas::Hash> assemble();

  struct Sealed {
    cas::ContentId manifest;
    std::uint64_t manifest_size = 0, files = 0, bytes = 0;
  };
  /// Puts the records of `layer` into the database and the layer object into `session` (which is not committed here).
  /// The layer is then ready to be published.
  Result<Sealed> seal(cas::Database& database, LayerId layer, cas::WriteSession& session);

 private:
  /// path_key of a member, which mostly lies beside the one before it.
  std::string key_of(std::string_view path);
  Result<void> add_parents(std::string_view key);

  std::filesystem::path scratch_;
  EntrySorter sorter_;
  TreeAssembly tree_;
  std::uint64_t members_ = 0;
  std::string last_parent_;  // key of the directory whose parents were all added with the member before
  std::string last_folder_, last_folder_key_;  // path of the directory that key_of saw last, and its key
};

}  // namespace stellarium::fs
