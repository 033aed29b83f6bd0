#pragma once
#include <sys/stat.h>

#include <cstdint>
#include <functional>
#include <string>

#include "base/result.h"
#include "cas/content_store.h"
#include "fs/types.h"
#include "tier/tier.h"

namespace stellarium::fs {

/// The bytes of a file where they are to stay: what a record says of them instead of naming a staged file.
struct SettledBody {
  Body body = Body::none;
  std::string inline_bytes = {};
  cas::ContentId content = {};
  std::uint64_t size = 0, allocated = 0;
  bool elf = false;
};

/// A staged file to be read from beginning to end. Nobody has to lock it: what changes meanwhile shows in its times.
struct StagedSource {
  int fd = -1;
  std::uint64_t size = 0;  ///< bytes
  std::uint32_t mode = 0;  ///< of the inode
  StagedBase base = {};    ///< what shows in holes that were made exact
};
/// Reads it all through a session, holes as zeros that are not read. What is new is durable after the session's commit.
///
/// `go_on` is asked every 256 KiB. Errors: cancelled if it says no; busy if the file is shorter than `size` by
/// now; io; those of the session and, for a base, of the tier. Threads: the session's. Memory: `buffer`, which grows to
/// 256 KiB.
Result<SettledBody> read_staged(const StagedSource& source, tier::Tier& tier, cas::WriteSession& session,
                                std::vector<std::byte>& buffer, const std::function<bool()>& go_on);

}  // namespace stellarium::fs
