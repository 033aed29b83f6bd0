#include "fs/tar_export.h"
#include "base/io.h"
#include "fs/body_reading.h"
#include "fs/clone_bodies.h"
#include "fs/member_window.h"

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <unordered_map>
#include <vector>

#include "fs/pax_writer.h"
#include "fs/posix_acl.h"

namespace stellarium::fs {
namespace {

constexpr std::size_t kReadBytes = 1 << 20;
constexpr std::size_t kHoleBytes = 4096;  // runs of zero blocks of this size become holes of sparse files

class Exporter {
 public:
  Exporter(const LayerReader& layer, const ExportSources& sources, ByteOutput& out,
           const std::function<bool(std::uint64_t)>& progress)
      : layer_{layer},
        sources_{sources},
        progress_{progress},
        inodes_{layer.scan_inodes()},
        writer_{out},
        buffer_(kReadBytes) {}

  Result<void> run() {
    if (const auto done = member(".", kRootIno); !done) return done;
    if (const auto entered = enter(kRootIno, ""); !entered) return entered;
    while (!stack_.empty()) {
      Level& level = stack_.back();
      if (level.next == level.entries.size()) {
        stack_.pop_back();
        continue;
      }
      const Dirent entry = std::move(level.entries[level.next++]);
      const std::string path = level.path + entry.name;
      if (const auto done = member(path, entry.ino); !done) return done;
      if (entry.type == DT_DIR) {
        if (const auto entered = enter(entry.ino, path + "/"); !entered) return entered;
      }
    }
    return writer_.finish();
  }

 private:
  struct Level {
    std::string path;  // with a slash at its end, or empty for the root
    std::vector<Dirent> entries;
    std::size_t next = 0;
  };

  Result<void> enter(Ino dir, const std::string& path) {
    Level level{path, {}};
    LayerReader::Listing listing = layer_.list(dir, 0);
    for (;;) {
      auto entry = listing.next();
      if (!entry) return fail(entry.error(), "listing /" + path);
      if (!*entry) break;
      level.entries.push_back(std::move(**entry));
    }
    stack_.push_back(std::move(level));
    return {};
  }

  Result<void> member(const std::string& path, Ino ino) {
    const auto found = inodes_.at(ino);
    if (!found) return fail(found.error(), "reading /" + path);
    if (!*found) return fail(Errc::corrupt, "/" + path + " names inode " + std::to_string(ino) + ", which is missing");
    const Inode& inode = **found;

    PaxMember member;
    member.path = path;
    member.mode = inode.mode;
    member.uid = inode.uid;
    member.gid = inode.gid;
    member.rdev = inode.rdev;
    member.mtime = inode.mtime;
    if (!S_ISDIR(inode.mode) && inode.nlink > 1) {
      const auto [first, is_new] = links_.try_emplace(ino, path);
      if (!is_new) {
        member.hard_link = first->second;
        return writer_.begin(member);
      }
    }
    if (inode.has_xattrs) {
      if (const auto added = add_xattrs(ino, member); !added)
        return fail(added.error(), "reading attributes of /" + path);
    }
    if (S_ISLNK(inode.mode)) member.symlink = inode.inline_bytes;
    if (!S_ISREG(inode.mode)) return writer_.begin(member);
    const auto written = regular(inode, member);
    return written ? written : fail(written.error(), "exporting /" + path);
  }

  Result<void> add_xattrs(Ino ino, PaxMember& member) {
    auto xattrs = layer_.xattrs(ino);
    if (!xattrs) return fail(xattrs.error());
    for (auto& [name, value] : *xattrs) {
      if (name != kAclAccess && name != kAclDefault) {
        member.xattrs.emplace_back(std::move(name), std::move(value));
        continue;
      }
      auto text = acl_to_text(value);
      if (!text) return fail(text.error());
      (name == kAclAccess ? member.acl_access : member.acl_default) = std::move(*text);
    }
    return {};
  }

  Result<void> staged(Inode inode, PaxMember& member) {
    if (sources_.staging == nullptr) return fail(Errc::corrupt, "a body that is not in the store");
    if (const auto known = refresh_staged(*sources_.staging, inode); !known) return known;
    member.size = inode.size;
    member.mtime = inode.mtime;
    if (const auto begun = writer_.begin(member); !begun) return begun;
    const auto read = [&](std::uint64_t at) {
      return read_body({sources_.tier, sources_.staging}, inode, at, buffer_);
    };
    return each_block(inode.size, read, [&](std::uint64_t, ByteSpan block) { return writer_.data(block); });
  }

  Result<void> regular(const Inode& inode, PaxMember& member) {
    if (inode.body == Body::staged) return staged(inode, member);
    member.size = inode.size;
    if (inode.body == Body::content && sources_.by_reference) {
      make_reference(member, {.id = inode.content, .elf = inode.program}, inode.allocated);
      return writer_.begin(member);
    }
    if (inode.body != Body::content) {
      if (const auto begun = writer_.begin(member); !begun) return begun;
      return inode.body == Body::inline_ ? writer_.data(as_bytes(inode.inline_bytes)) : writer_.zeros(inode.size);
    }
    const tier::ContentRef content{inode.content, inode.size};
    if (inode.allocated < inode.size) {
      auto extents = data_extents(content);
      if (!extents) return fail(extents.error());
      member.sparse = true;
      member.extents = std::move(*extents);
    }
    if (const auto begun = writer_.begin(member); !begun) return begun;
    return each_block(content, [&](std::uint64_t, ByteSpan block) { return writer_.data(block); });
  }

  /// Where a sparse file has bytes other than zero. The map stands before the data in a tar, so the content is read
  /// once more for it.
  Result<std::vector<DataExtent>> data_extents(const tier::ContentRef& content) {
    std::vector<DataExtent> extents;
    const auto scanned = each_block(content, [&](std::uint64_t offset, ByteSpan block) -> Result<void> {
      for (std::size_t at = 0; at < block.size(); at += kHoleBytes) {
        const ByteSpan part = block.subspan(at, std::min(kHoleBytes, block.size() - at));
        if (all_zero(part)) continue;
        if (!extents.empty() && extents.back().offset + extents.back().size == offset + at) {
          extents.back().size += part.size();
        } else {
          extents.push_back({offset + at, part.size()});
        }
      }
      return {};
    });
    if (!scanned) return fail(scanned.error());
    return extents;
  }

  template <typename Use>
  Result<void> each_block(const tier::ContentRef& content, const Use& use) {
    return each_block(
        content.size, [&](std::uint64_t at) { return sources_.tier.read(content, at, buffer_); }, use);
  }

  template <typename Read, typename Use>
  Result<void> each_block(std::uint64_t size, const Read& read_at, const Use& use) {
    for (std::uint64_t at = 0; at < size;) {
      const Result<std::size_t> read = read_at(at);
      if (!read) return fail(read.error());
      if (*read == 0) return fail(Errc::corrupt, "it ends at " + std::to_string(at) + " of " + std::to_string(size));
      if (const auto used = use(at, ByteSpan{buffer_}.first(*read)); !used) return used;
      at += *read;
      done_ += *read;
      if (!progress_(done_)) return fail(Errc::cancelled, "stopped");
    }
    return {};
  }

  const LayerReader& layer_;
  const ExportSources sources_;
  const std::function<bool(std::uint64_t)>& progress_;
  LayerReader::InodeScan inodes_;
  PaxWriter writer_;
  std::vector<std::byte> buffer_;
  std::vector<Level> stack_;
  std::unordered_map<Ino, std::string> links_;
  std::uint64_t done_ = 0;
};

}  // namespace

Result<void> export_tar(const LayerReader& layer, const ExportSources& sources, ByteOutput& out,
                        const std::function<bool(std::uint64_t)>& progress) {
  return Exporter{layer, sources, out, progress}.run();
}

}  // namespace stellarium::fs
