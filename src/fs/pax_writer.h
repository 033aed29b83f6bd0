#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "fs/byte_stream.h"
#include "fs/types.h"

namespace stellarium::fs {

/// A range of a file that is not a hole.
struct DataExtent {
  std::uint64_t offset = 0, size = 0;
  bool operator==(const DataExtent&) const = default;
};

/// One member of a pax archive, before its data.
struct PaxMember {
  std::string path;  ///< relative; any bytes but NUL
  std::uint32_t mode = 0, uid = 0, gid = 0;
  std::uint64_t size = 0, rdev = 0;
  Timespec mtime;
  std::string symlink;    ///< target of a symlink
  std::string hard_link;  ///< path of the member that this is another name of; then nothing but `path` counts
  std::vector<std::pair<std::string, std::string>> xattrs;
  std::string acl_access, acl_default;  ///< as text (posix_acl.h); empty: none
  bool sparse = false;
  std::vector<DataExtent> extents;  ///< if sparse: ascending, disjoint, inside `size`
};

/// Writes a pax archive (POSIX.1-2001, with the SCHILY attributes and GNU sparse maps 1.0) through
/// libarchive.
///
/// Order per member: `begin`, then exactly `size` bytes by `data` and `zeros` (holes must be given as zeros), at the
/// end `finish`. Threads: one at a time. Errors: those of the output; invalid_argument for what the format cannot hold.
class PaxWriter {
 public:
  explicit PaxWriter(ByteOutput& out);
  ~PaxWriter();
  PaxWriter(const PaxWriter&) = delete;
  PaxWriter& operator=(const PaxWriter&) = delete;

  [[nodiscard]] Result<void> begin(const PaxMember& member);
  [[nodiscard]] Result<void> data(ByteSpan bytes);
  [[nodiscard]] Result<void> zeros(std::uint64_t count);
  [[nodiscard]] Result<void> finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace stellarium::fs
