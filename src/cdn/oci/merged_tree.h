#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "fs/layer_builder.h"
#include "fs/layer_entry.h"
#include "fs/scratch_file.h"
#include "fs/types.h"

namespace stellarium::cdn::oci {

/// What is there after the layers of an image were unpacked one over the other (OCI image-spec 1.1, "Applying
/// Changesets"), without unpacking anything: names in memory, attributes in a scratch file.
///
/// Rules:   as those who unpack it: a directory over a directory keeps what is in it, anything else takes the place of
///          what is there; whiteouts concern lower layers only, wherever in their layer they stand, and those of
///          nothing are passed over; a hard link is one more name of what its target is at that moment; parents that
///          are missing are made (root:root, 0755, time 0); a parent that is a symlink is followed, inside of the tree.
/// Errors:  invalid_argument for what no unpacking could do, without the member's name, which the caller knows; io,
///          out_of_space (the scratch file).
/// Memory:  about 120 bytes a name, at most 16 million names. Threads: one at a time.
class MergedTree {
 public:
  explicit MergedTree(std::filesystem::path scratch);

  void begin_layer() { ++layer_; }  ///< what comes now is of the next one
  /// All paths are normal ones (fs/path_key.h).
  [[nodiscard]] Result<void> add(std::string_view path, const fs::Inode& inode, const fs::Xattrs& xattrs);
  [[nodiscard]] Result<void> add_link(std::string_view path, std::string_view target);
  [[nodiscard]] Result<void> white_out(std::string_view path);
  [[nodiscard]] Result<void> make_opaque(std::string_view directory);

  /// Adds every name to `builder`. Cost: one read of each record.
  [[nodiscard]] Result<void> emit(fs::LayerBuilder& builder) const;

 private:
  struct Node;
  using Children = std::map<std::string, Node, std::less<>>;
  enum class Kind : std::uint8_t { other, directory, symlink };
  struct Node {
    std::uint64_t record = 0;  // of the attributes; names with the same one are hard links
    std::uint16_t layer = 0;   // that added it last
    Kind kind = Kind::other;
    std::unique_ptr<Children> children = {};
  };
  enum class Missing { make, leave };
  class Emission;

  /// The directory that `path` names, symlinks followed; null if it is missing and is to be left so.
  Result<Node*> directory(std::string_view path, Missing missing);
  /// The directory that holds `path`, which is not the root, and the name in it.
  struct Place {
    Node* parent = nullptr;
    std::string name;
  };
  Result<Place> place(std::string_view path, Missing missing);
  Result<Node> make_directory();
  Result<std::uint64_t> keep(const fs::Inode& inode, const fs::Xattrs& xattrs);
  Result<std::string> target_of(const Node& symlink) const;
  bool prune(Node& directory) const;
  Result<void> count_one();

  fs::ScratchFile records_;
  Node root_;
  std::uint16_t layer_ = 0;
  std::uint64_t names_ = 0;  // added, those that went included
};

}  // namespace stellarium::cdn::oci
