#pragma once
#include <cstdint>
#include <functional>
#include <optional>

#include "base/result.h"
#include "cas/database.h"
#include "fs/clone_quota.h"
#include "fs/staging.h"
#include "fs/types.h"
#include "fs/writable_tree.h"
#include "tier/tier.h"

namespace stellarium::fs {

/// The large files of a clone: staged sparsely over the content that they were (Inode::base), so that the first write
/// costs its own places of 4 KiB and not the whole file.
///
/// What the staged file has hides the content; a hole shows it, up to `base.shows`, and zeros behind that. A truncation
/// lowers `shows`, nothing raises it. Places that are to read as zeros while the content shows are written.
/// Order on disk: a truncated file is durable before the record that says that less of the content shows, and that
///          record before the file grows again: else a power cut could show what was hidden or cut off long before.
/// Threads: all functions may be called concurrently. Changes of one file exclude each other and its readers, over
///          their I/O, by its `places()`; records are looked at under it.
/// Errors:  those of the quota; of the tier, if bytes of the content are needed and cannot be delivered.
class SparseBodies {
 public:
  struct Parts {
    WritableTree& tree;
    Staging& staging;
    tier::Tier& tier;
    cas::Database& database;
    CloneQuota& quota;
  };
  explicit SparseBodies(const Parts& parts) : parts_{parts} {}

  /// Gives an empty staged file the size of `base.shows`, all of it holes. False if the host's file system cannot say
  /// where holes are: nothing was done.
  [[nodiscard]] Result<bool> begin(StagedFile& file, const StagedBase& base);

  // `file` is what the record of `ino` named when the caller looked; it may have no base any more. All of them fail
  // with not_found, and change nothing, if the record names another body by now.

  [[nodiscard]] Result<std::size_t> read(Ino ino, StagedFile& file, std::uint64_t offset, MutableByteSpan out);
  /// As much as fits, as write(2).
  [[nodiscard]] Result<std::size_t> write(Ino ino, StagedFile& file, ByteSpan data, std::uint64_t offset);
  [[nodiscard]] Result<void> truncate(Ino ino, StagedFile& file, std::uint64_t size);
  /// fallocate(2) of the modes that neither collapse nor insert. What is allocated is written with what it shows.
  [[nodiscard]] Result<void> allocate(Ino ino, StagedFile& file, int mode, std::uint64_t offset, std::uint64_t length);
  /// Writes out what shows of the next `kPiece` bytes from `from` on, which is 0 or what the last call returned: where
  /// to go on. Nothing if all of it is there: the file has no base any more. What programs see stays the same, but for
  /// blocks and ctime.
  static constexpr std::uint64_t kPiece = 1u << 20;
  [[nodiscard]] Result<std::optional<std::uint64_t>> complete(Ino ino, StagedFile& file, std::uint64_t from);
  /// The next data or hole at or behind `offset`; `next_in_base` says where the content has one.
  using NextInBase = std::function<Result<std::uint64_t>(const StagedBase& base, std::uint64_t offset)>;
  [[nodiscard]] Result<std::uint64_t> seek(Ino ino, StagedFile& file, std::uint64_t offset, bool data,
                                           const NextInBase& next_in_base);

 private:
  struct Shown {
    StagedBase base;
    std::uint64_t size = 0;  // of the file
  };
  Result<Shown> look(Ino ino, const StagedFile& file) const;
  Result<void> set_base(Ino ino, StagedFile& file, const StagedBase& base);
  Result<void> show_less(Ino ino, StagedFile& file, Shown& shown, std::uint64_t shows);
  /// Before the file grows to `end`.
  Result<void> before_growing(Ino ino, StagedFile& file, Shown& shown, std::uint64_t end);
  Result<std::size_t> put(const StagedFile& file, const Shown& shown, ByteSpan data, std::uint64_t offset);
  Result<void> put_zeros(const StagedFile& file, const Shown& shown, std::uint64_t begin, std::uint64_t end);
  Result<void> put_shown(const StagedFile& file, const Shown& shown, std::uint64_t begin, std::uint64_t end);

  const Parts parts_;
};

}  // namespace stellarium::fs
