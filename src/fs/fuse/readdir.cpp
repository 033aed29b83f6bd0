#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "fs/fuse/dirent_writer.h"
#include "fs/fuse/read_only_view.h"
#include "fs/records.h"

// Listings: two sequential scans, one over the entries and one over the inodes they lead to, straight into the reply.
// Offsets are the entries' cookies, so a listing can be taken up anywhere, at any time, by any server; 1 and 2 stand
// behind "." and "..", which are not stored.
namespace stellarium::fs::fuse {
namespace {

constexpr std::uint64_t kBehindDot = 1;
constexpr std::uint64_t kBehindDotDot = 2;
static_assert(kBehindDotDot < kFirstCookie);

}  // namespace

Result<void> ReadOnlyView::list(const Node& node, const abi::ReadIn& in, DirentWriter& out, bool plus) {
  const LayerReader& reader = node.tree->reader;
  const NodeId self_id = NodeId::of(node.tree->tree, node.ino);
  if (ends_.contains(self_id, in.offset)) return {};
  const abi::EntryOut nothing{};
  if (in.offset < kBehindDotDot) {
    const Result<std::optional<Inode>> directory = inode_of(*node.tree, node.ino);
    if (!directory) return fail(directory.error());
    if (!*directory) return fail(Error{Errc::invalid_argument, "no such node", ESTALE});
    if (!S_ISDIR((*directory)->mode)) return fail(Error{Errc::invalid_argument, "not a directory", ENOTDIR});
    const bool top = node.ino == kRootIno;
    const std::uint64_t self = shown_ino(*node.tree, node.ino);
    const std::uint64_t above = top ? self : shown_ino(*node.tree, (*directory)->parent);
    if (in.offset == 0 && !out.add(".", self, DT_DIR, kBehindDot, nothing)) return {};
    if (!out.add("..", above, DT_DIR, kBehindDotDot, nothing)) return {};
  }
  LayerReader::Listing entries = reader.list(node.ino, in.offset <= kBehindDotDot ? 0 : in.offset);
  LayerReader::InodeScan inodes = reader.scan_inodes();
  DirCookie last = std::max(in.offset, kBehindDotDot);
  while (true) {
    const Result<std::optional<Dirent>> next = entries.next();
    if (!next) return fail(next.error());
    if (!*next) {
      ends_.insert(self_id, last);
      return {};
    }
    const Dirent& dirent = **next;
    if (!out.fits(dirent.name)) {
      if (out.written().empty()) return fail(Error{Errc::invalid_argument, "listing buffer too small", EINVAL});
      return {};
    }
    abi::EntryOut child{};
    if (plus) {
      const Result<std::optional<Inode>> inode = inodes.at(dirent.ino);
      if (!inode) return fail(inode.error());
      if (!*inode) {
        return fail(Errc::corrupt, "layer " + std::to_string(reader.layer()) + ", inode " + std::to_string(dirent.ino) +
                                       " is missing");
      }
      parts_.inodes.insert(NodeId::of(node.tree->tree, dirent.ino), **inode);
      child = entry(*node.tree, dirent.ino, **inode);
    }
    out.add(dirent.name, shown_ino(*node.tree, dirent.ino), dirent.type, dirent.cookie, child);
    last = dirent.cookie;
  }
}

}  // namespace stellarium::fs::fuse
