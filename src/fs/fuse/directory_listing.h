#pragma once
#include <functional>
#include <optional>

#include "base/result.h"
#include "fs/fuse/abi.h"
#include "fs/fuse/dirent_writer.h"
#include "fs/layer_reader.h"
#include "fs/records.h"

namespace stellarium::fs::fuse {

/// Offsets behind "." and "..", which come first and are not stored.
inline constexpr std::uint64_t kBehindDot = 1, kBehindDotDot = 2;
static_assert(kBehindDotDot < kFirstCookie);

/// How a view shows the children of a directory.
struct ListingRules {
  std::function<std::uint64_t(Ino)> shown_ino;  ///< st_ino
  /// The directory's own inode, where it may be known; empty: its record is read.
  std::function<Result<std::optional<Inode>>(Ino)> directory;
  /// For READDIRPLUS, what LOOKUP would answer; empty for READDIR.
  std::function<Result<abi::EntryOut>(Ino, Inode&)> entry;
  bool may_change = false;  ///< an entry whose inode is not there was removed a moment ago, and is no damage
};

/// Lays out the entries of `directory` behind `offset`, as many as fit. Offsets are the entries' cookies, so a listing
/// can be taken up anywhere, at any time, by any server. Returns the offset behind the last entry if it came so far.
/// Errors: ESTALE, ENOTDIR, EINVAL (no room for one entry), those of the records.
Result<std::optional<DirCookie>> list_directory(const LayerReader& reader, Ino directory, std::uint64_t offset,
                                                const ListingRules& rules, DirentWriter& out);

}  // namespace stellarium::fs::fuse
