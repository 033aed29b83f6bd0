#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"
#include "cas/hash.h"
#include "fs/archive_member.h"
#include "fs/types.h"

namespace stellarium::fs {

/// A content that a member names instead of carrying it (tree_emitter.h, kContentAttribute).
struct ContentReference {
  cas::ContentId id;
  std::uint64_t size = 0, allocated = 0;
  bool elf = false;
  bool operator==(const ContentReference&) const = default;
};
/// Takes "HEX SIZE ALLOCATED ELF", exactly as it is written, and nothing else (invalid_argument).
Result<ContentReference> parse_content_reference(std::string_view text);

/// Removes the reserved attribute from the member's xattrs; nothing if it has none.
/// Errors: invalid_argument, if it is malformed or on anything but a regular file without data.
Result<std::optional<ContentReference>> take_content_reference(ArchiveMember& member);

/// Why a member cannot be taken, in one readable line: control bytes of its path are shown as '?', a long one is cut.
tl::unexpected<Error> refuse_member(const std::string& path, const Error& error);

/// The inode of a member, as far as its header tells: everything but body, size and program of regular files.
/// Errors: invalid_argument (owner or size out of range, no such file type, a symlink without a target).
Result<Inode> inode_of(const ArchiveMember& member);

}  // namespace stellarium::fs
