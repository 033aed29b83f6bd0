#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "fs/byte_stream.h"
#include "fs/tar_header.h"
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

/// Writes a pax archive (POSIX.1-2001, with the SCHILY attributes and GNU's sparse format 1.0).
///
/// Why not libarchive: it copies and converts every member several times, which was half of what sending an unchanged
/// tree costs. What is written here, libarchive and GNU tar read.
/// Order:   per member `begin`, then exactly `size` bytes by `data` and `zeros` (holes must be given as zeros), or
///          `file`; at the end `finish`. Without it the archive has no end mark, so that a cut one does not look whole.
/// Threads: one at a time. Memory: 256 KiB.
/// Errors:  those of the output; invalid_argument for what the format cannot hold.
class PaxWriter {
 public:
  explicit PaxWriter(ByteOutput& out);

  [[nodiscard]] Result<void> begin(const PaxMember& member);
  [[nodiscard]] Result<void> data(ByteSpan bytes);
  [[nodiscard]] Result<void> zeros(std::uint64_t count);
  /// All data of a member that is not sparse, as the output takes it from the file. False: the file was shorter, and
  /// was filled with zeros.
  [[nodiscard]] Result<bool> file(int file);
  [[nodiscard]] Result<void> finish();

 private:
  void put_records(const PaxMember& member, const std::string& name, const std::string& link, std::uint64_t stored,
                   bool hard_link);
  [[nodiscard]] Result<void> put_block(const TarHeader& header);
  [[nodiscard]] Result<void> pad();
  [[nodiscard]] Result<void> write(ByteSpan bytes);
  [[nodiscard]] Result<void> flush();

  ByteOutput& out_;
  std::vector<std::byte> buffer_;
  std::string records_;

  // The member that is being written.
  std::string path_;
  std::uint64_t left_ = 0;  // bytes to come
  std::size_t padding_ = 0;
  bool sparse_ = false;
  std::vector<DataExtent> extents_;
  std::uint64_t position_ = 0;
  std::size_t next_extent_ = 0;
};

}  // namespace stellarium::fs
