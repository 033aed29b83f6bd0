#pragma once
#include <cstdint>

#include "base/result.h"
#include "fs/staging.h"
#include "fs/types.h"
#include "tier/tier.h"

// Bytes of a regular file, wherever its record says that they are.
namespace stellarium::fs {

struct BodySources {
  tier::Tier& tier;
  Staging* staging = nullptr;  ///< may be missing where no layer is one that was written
};

/// Fills `out` from `offset` on, cut at the file's end; returns how many bytes. A staged file's size is asked of the
/// file. Errors: not_found if the staged file went since the record was read; corrupt; those of tier and staging.
/// Threads: concurrently with everything. Cost: a pread(2); for a file over a base two lseek(2) more for each run.
[[nodiscard]] Result<std::size_t> read_body(const BodySources& from, const Inode& inode, std::uint64_t offset,
                                            MutableByteSpan out);

/// What a staged file has, and in its holes what the base shows. The caller holds `file.places()`, at least shared, and
/// has made the holes exact.
[[nodiscard]] Result<std::size_t> read_over_base(tier::Tier& tier, int fd, const StagedBase& base, std::uint64_t offset,
                                                 MutableByteSpan out);
/// All of `out`, from the base alone: zeros where it does not show.
[[nodiscard]] Result<void> read_base(tier::Tier& tier, const StagedBase& base, std::uint64_t offset,
                                     MutableByteSpan out);

}  // namespace stellarium::fs
