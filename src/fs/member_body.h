#pragma once
#include <cstdint>
#include <functional>
#include <optional>

#include "base/result.h"
#include "cas/content_store.h"
#include "fs/archive_member.h"
#include "fs/types.h"

namespace stellarium::fs {

class TarReader;

/// Takes the data of regular files from a tar into the store.   Threads: one at a time.
class MemberBody {
 public:
  /// Called after every part; an error ends it.
  using GoOn = std::function<Result<void>()>;
  MemberBody(cas::WriteSession& session, TarReader& archive, GoOn go_on)
      : session_{session}, archive_{archive}, go_on_{std::move(go_on)} {}

  /// Reads the data of the archive's current member and completes `inode`: body, size, allocated bytes, and whether it
  /// is a program. Small ones stay in the inode, others become contents.
  /// Errors: invalid_argument (not what the header says), those of the archive and the store.
  Result<void> take(const ArchiveMember& member, Inode& inode);

 private:
  Result<std::optional<ArchiveBlock>> next_block(std::uint64_t position, std::uint64_t size);
  Result<void> take_inline(Inode& inode);
  Result<void> take_content(Inode& inode);

  cas::WriteSession& session_;
  TarReader& archive_;
  GoOn go_on_;
};

}  // namespace stellarium::fs
