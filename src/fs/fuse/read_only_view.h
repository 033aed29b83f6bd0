#pragma once
#include <atomic>
#include <memory>
#include <optional>
#include <string>

#include "cas/content_store.h"
#include "fs/fuse/content_reader.h"
#include "fs/fuse/dax_mappings.h"
#include "fs/fuse/filesystem.h"
#include "fs/fuse/image_tree.h"
#include "fs/fuse/inode_cache.h"
#include "fs/fuse/listing_ahead.h"
#include "fs/fuse/listing_ends.h"
#include "fs/fuse/node_set.h"
#include "fs/fuse/open_files.h"
#include "fs/fuse/opened_nodes.h"
#include "fs/fuse/sparse_map.h"
#include "fs/fuse/tree_readahead.h"

namespace stellarium::fs::fuse {

class WaitingWrites;

/// What all views of a server share; borrowed.
struct ViewParts {
  Catalog& catalog;
  cas::ContentStore& contents;
  tier::Tier& tier;
  ContentReader& reader;
  NodeSet& unhandled;        ///< files whose opens need neither a backing file nor a record
  TreeReadahead& readahead;  ///< across files
  InodeCache& inodes;
  WaitingWrites* waiting = nullptr;            ///< without it a write that does not fit fails at once
  std::shared_ptr<DaxMappings> dax = nullptr;  ///< the window of the guest that looks, if it has one
};

/// Sealed layers as a file system: everything may be remembered for ever, because nothing in them changes.
///
/// Listings need no request once they are cached, neither do attributes, symlinks and names that are missing. An open
/// file costs one OPEN and one RELEASE that nobody waits for; contents of up to 16 KiB that are no programs are put
/// into the page cache by their first open, everything else is passed through (OpenFiles decides).
///
/// A mount that shows one image has its tree at node 1 and gives bare inode numbers. A mount of several trees
/// (StoreView uses this class for them) puts the tree number in front, so that no two files look like one. Threads: all
/// operations may be called concurrently.
class ReadOnlyView final : public Filesystem {
 public:
  /// Contents up to this size lie in Cosmic Packs unless they are programs: cheaper to send than to pass through.
  static constexpr std::uint64_t kPacked = 16u << 10;

  /// `root`: the tree at node 1, or nothing if the trees are somewhere inside the mount.
  ReadOnlyView(const ViewParts& parts, std::shared_ptr<TreeSource> trees, std::shared_ptr<OpenFiles> open_files,
               std::optional<TreeId> root, bool want_passthrough);

  std::uint64_t features() const override;
  void started(std::uint64_t features, bool resumed) override;
  void lookup(const Request& request, std::string_view name, Reply reply) override;
  void getattr(const Request& request, Reply reply) override;
  void statx(const Request& request, Reply reply) override;
  void readlink(const Request& request, Reply reply) override;
  void open(const Request& request, const abi::OpenIn& in, Reply reply) override;
  void read(const Request& request, const abi::ReadIn& in, Reply reply) override;
  void lseek(const Request& request, const abi::LseekIn& in, Reply reply) override;
  void release(const Request& request, const abi::ReleaseIn& in, Reply reply) override;
  void opendir(const Request& request, Reply reply) override;
  void readdir(const Request& request, const abi::ReadIn& in, bool plus, Reply reply) override;
  void getxattr(const Request& request, std::string_view name, std::uint32_t size, Reply reply) override;
  void listxattr(const Request& request, std::uint32_t size, Reply reply) override;
  void statfs(const Request& request, Reply reply) override;
  void setup_mapping(const Request& request, const abi::SetupMappingIn& in, Reply reply) override;
  void remove_mappings(const Request& request, std::span<const abi::RemoveMappingOne> which, Reply reply) override;

  /// What LOOKUP answers for an inode of a tree: its node id, attributes and time-outs.
  abi::EntryOut entry(const ImageTree& tree, Ino ino, const Inode& inode) const;

 private:
  struct Node {
    const ImageTree* tree;
    Ino ino;
  };
  struct Found {
    const ImageTree* tree;
    Ino ino;
    Inode inode;
  };
  Result<Node> locate(NodeId node) const;  ///< invalid_argument (ESTALE) for ids that name no tree
  Result<Found> find(NodeId node) const;   ///< … or no inode
  Result<std::optional<Inode>> inode_of(const ImageTree& tree, Ino ino) const;
  NodeId node_of(const ImageTree& tree, Ino ino) const;
  std::uint64_t shown_ino(const ImageTree& tree, Ino ino) const;
  abi::Attr attr_of(const ImageTree& tree, Ino ino, const Inode& inode) const;
  /// A file without a handle is being opened: gives the kernel its pages if they are in memory, which spares the READ
  /// that follows.
  void give_pages(NodeId node, const Reply& reply);
  /// A file was opened or read, `missed`: and somebody waits for it. Fetches the files behind it if it is one of a
  /// series.
  void fetch_ahead(const ImageTree& tree, Ino ino, bool missed) const;
  struct LaidOut {
    ByteSpan entries;               ///< in the given room
    std::optional<DirCookie> last;  ///< behind the last entry if it came so far
    std::vector<NodeId> folders;    ///< READDIRPLUS: among the entries
  };
  Result<LaidOut> lay_out(const ImageTree& tree, Ino directory, std::uint64_t offset, bool plus,
                          MutableByteSpan room) const;
  /// The program that was told that a listing ends looks at it now: time to lay out the next one.
  void lay_out_ahead(const ImageTree& tree, std::uint32_t size, MutableByteSpan room);
  /// overlayfs asks for attributes of its own of every file that it meets. On a mount of one image without any extended
  /// attribute the first question is answered with ENOSYS, and the kernel asks for none any more.
  bool may_stop_asking(const ImageTree& tree, std::string_view name);
  std::optional<std::string> introspect(const Found& found, std::string_view name) const;

  ViewParts parts_;
  std::shared_ptr<TreeSource> trees_;
  std::shared_ptr<OpenFiles> open_files_;
  const std::optional<TreeId> root_;
  const bool want_passthrough_;
  std::atomic<std::uint64_t> features_ = 0;  ///< what INIT agreed on
  std::atomic<bool> maps_ = false;           ///< the guest reads by way of its window
  /// An earlier server may have READs to answer, of nodes whose opens this one does not know.
  std::atomic<bool> gives_pages_ = false;
  OpenedNodes opened_;
  SparseMaps sparse_;
  ListingEnds ends_;
  ListingAhead ahead_;
  enum class Xattrs : std::uint8_t { unknown, none, some };
  std::atomic<Xattrs> xattrs_ = Xattrs::unknown;  ///< of the image at the root
};

}  // namespace stellarium::fs::fuse
