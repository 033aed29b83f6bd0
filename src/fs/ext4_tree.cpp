#include "fs/ext4_tree.h"

#include <sys/stat.h>

#include <algorithm>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/raw_bytes.h"
#include "fs/pax_writer.h"

namespace stellarium::fs {
namespace {

constexpr std::size_t kMaxPath = 64 << 10;
constexpr std::size_t kDataBytes = 256 << 10;

class ImageWalk {
 public:
  ImageWalk(Ext4Image& image, ByteOutput& out, EmitObserver& observer)
      : image_{image}, observer_{observer}, writer_{out}, buffer_{kDataBytes} {}

  Result<void> run() {
    if (const auto root = entry("", {".", Ext4Image::kRoot}); !root) return root;
    if (stack_.empty()) return fail(Errc::corrupt, "the root is not a folder");
    while (!stack_.empty()) {
      Level& level = stack_.back();
      if (level.next == level.entries.size()) {
        stack_.pop_back();
        continue;
      }
      const Ext4Image::Entry next = std::move(level.entries[level.next++]);
      if (next.name.size() + level.path.size() >= kMaxPath)
        return fail(Errc::invalid_argument, "folders lie in one another too deep at " + next.name);
      if (const auto emitted = entry(level.path, next); !emitted) return emitted;  // `level` may move
    }
    return writer_.finish();
  }

 private:
  struct Level {
    std::string path;  // with a slash at its end, or empty for the root
    std::vector<Ext4Image::Entry> entries;
    std::size_t next = 0;
  };

  /// `folder`: a path that ends with a slash, or empty.
  Result<void> entry(const std::string& folder, const Ext4Image::Entry& entry) {
    const std::string path = folder + entry.name;
    if (!observer_.progress(++files_, bytes_)) return fail(Errc::cancelled, "stopped");
    const auto node = image_.node(entry.inode);
    if (!node) return fail(node.error(), path);
    if (S_ISSOCK(node->mode)) {
      observer_.note(path + ": a socket, skipped");
      return {};
    }
    PaxMember member;
    member.path = path;
    member.mode = node->mode;
    member.uid = node->uid;
    member.gid = node->gid;
    member.rdev = node->rdev;
    member.mtime = node->mtime;
    if (S_ISDIR(node->mode)) return this->folder(entry.inode, std::move(member));
    if (node->links > 1) {
      const auto [first, is_new] = links_.try_emplace(entry.inode, path);
      if (!is_new) {
        member.hard_link = first->second;
        return writer_.begin(member);
      }
    }
    if (const auto got = add_xattrs(entry.inode, member); !got) return got;
    if (S_ISREG(node->mode)) {
      member.size = node->size;
      return regular(entry.inode, std::move(member));
    }
    if (S_ISLNK(node->mode)) {
      auto target = image_.link_target(entry.inode);
      if (!target) return fail(target.error(), path);
      member.symlink = std::move(*target);
    }
    return writer_.begin(member);
  }

  Result<void> add_xattrs(Ext4Image::Number inode, PaxMember& member) {
    auto xattrs = image_.xattrs(inode);
    if (!xattrs) return fail(xattrs.error(), member.path);
    member.xattrs = std::move(*xattrs);
    return {};
  }

  Result<void> folder(Ext4Image::Number inode, PaxMember member) {
    auto entries = image_.entries(inode);
    if (!entries) return fail(entries.error(), member.path);
    if (member.path == "lost+found" && entries->empty()) return {};
    if (!folders_.insert(inode).second) return fail(Errc::corrupt, member.path + ": this folder lies in two places");
    if (const auto got = add_xattrs(inode, member); !got) return got;
    if (const auto begun = writer_.begin(member); !begun) return begun;
    stack_.push_back({inode == Ext4Image::kRoot ? "" : member.path + "/", std::move(*entries)});
    return {};
  }

  Result<void> regular(Ext4Image::Number inode, PaxMember member) {
    const auto data = image_.data(inode);
    if (!data) return fail(data.error(), member.path);
    if (!data->in_inode.empty()) {
      if (const auto begun = writer_.begin(member); !begun) return begun;
      return writer_.data(std::as_bytes(std::span{data->in_inode}));
    }
    for (const Ext4Image::Piece& piece : data->pieces) {
      if (!member.extents.empty() && member.extents.back().offset + member.extents.back().size == piece.offset)
        member.extents.back().size += piece.size;  // it lies elsewhere in the image, which is nobody's business
      else
        member.extents.push_back({piece.offset, piece.size});
    }
    member.sparse = member.size != 0 && member.extents != std::vector<DataExtent>{{0, member.size}};
    if (!member.sparse) member.extents.clear();
    if (const auto begun = writer_.begin(member); !begun) return begun;
    std::uint64_t at = 0;
    for (const Ext4Image::Piece& piece : data->pieces) {
      if (const auto skipped = writer_.zeros(piece.offset - at); !skipped) return skipped;
      if (const auto sent = send(piece, member.path); !sent) return sent;
      at = piece.offset + piece.size;
    }
    return writer_.zeros(member.size - at);
  }

  Result<void> send(const Ext4Image::Piece& piece, const std::string& path) {
    for (std::uint64_t done = 0; done < piece.size;) {
      const MutableByteSpan part{buffer_.data(), std::min<std::uint64_t>(buffer_.size(), piece.size - done)};
      if (const auto got = image_.read(piece.where + done, part); !got) return fail(got.error(), path);
      if (const auto written = writer_.data(part); !written) return written;
      done += part.size();
      bytes_ += part.size();
      if (!observer_.progress(files_, bytes_)) return fail(Errc::cancelled, "stopped");
    }
    return {};
  }

  Ext4Image& image_;
  EmitObserver& observer_;
  PaxWriter writer_;
  RawBytes buffer_;
  std::vector<Level> stack_;
  std::unordered_map<Ext4Image::Number, std::string> links_;  // inodes with several names → the first one
  std::unordered_set<Ext4Image::Number> folders_;
  std::uint64_t files_ = 0, bytes_ = 0;
};

}  // namespace

Result<void> emit_ext4_tree(Ext4Image& image, ByteOutput& out, EmitObserver& observer) {
  return ImageWalk{image, out, observer}.run();
}

}  // namespace stellarium::fs
