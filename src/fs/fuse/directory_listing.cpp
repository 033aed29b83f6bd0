#include "fs/fuse/directory_listing.h"

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "fs/fuse/answers.h"
#include "fs/records.h"

// Two sequential scans, one over the entries and one over the inodes they lead to, straight into the reply.
namespace stellarium::fs::fuse {
namespace {

/// "." and "..", as far as they lie behind `offset`; false if they did not fit.
Result<bool> list_dots(const LayerReader& reader, Ino directory, std::uint64_t offset, const ListingRules& rules,
                       DirentWriter& out) {
  const abi::EntryOut nothing{};
  const Result<std::optional<Inode>> inode = rules.directory ? rules.directory(directory) : reader.inode(directory);
  if (!inode) return fail(inode.error());
  if (!*inode) return stale();
  if (!S_ISDIR((*inode)->mode)) return fail(Error{Errc::invalid_argument, "not a directory", ENOTDIR});
  const std::uint64_t self = rules.shown_ino(directory);
  const std::uint64_t above = directory == kRootIno ? self : rules.shown_ino((*inode)->parent);
  if (offset == 0 && !out.add(".", self, DT_DIR, kBehindDot, nothing)) return false;
  return out.add("..", above, DT_DIR, kBehindDotDot, nothing);
}

}  // namespace

Result<std::optional<DirCookie>> list_directory(const LayerReader& reader, Ino directory, std::uint64_t offset,
                                                const ListingRules& rules, DirentWriter& out) {
  if (offset < kBehindDotDot) {
    const Result<bool> dots = list_dots(reader, directory, offset, rules, out);
    if (!dots) return fail(dots.error());
    if (!*dots) return std::nullopt;
  }
  LayerReader::Listing entries = reader.list(directory, offset <= kBehindDotDot ? 0 : offset);
  LayerReader::InodeScan inodes = reader.scan_inodes();
  DirCookie last = std::max(offset, kBehindDotDot);
  while (true) {
    const Result<std::optional<Dirent>> next = entries.next();
    if (!next) return fail(next.error());
    if (!*next) return last;
    const Dirent& dirent = **next;
    if (!out.fits(dirent.name)) {
      if (out.written().empty()) return fail(Error{Errc::invalid_argument, "listing buffer too small", EINVAL});
      return std::nullopt;
    }
    abi::EntryOut child{};
    if (rules.entry) {
      Result<std::optional<Inode>> inode = inodes.at(dirent.ino);
      if (!inode) return fail(inode.error());
      if (!*inode && !rules.may_change) {
        return fail(Errc::corrupt, "layer " + std::to_string(reader.layer()) + ", inode " + std::to_string(dirent.ino) +
                                       " is missing");
      }
      if (*inode) {
        const Result<abi::EntryOut> shown = rules.entry(dirent.ino, **inode);
        if (!shown) return fail(shown.error());
        child = *shown;
      }
    }
    out.add(dirent.name, rules.shown_ino(dirent.ino), dirent.type, dirent.cookie, child);
    last = dirent.cookie;
  }
}

}  // namespace stellarium::fs::fuse
