#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "fs/layer_entry.h"
#include "fs/types.h"

// Records of a pax extended header (POSIX.1-2001, "pax Extended Header"): "LENGTH KEY=VALUE\n", where LENGTH counts
// itself.
namespace stellarium::fs {

/// Appends one record.
void put_pax_record(std::string& records, std::string_view key, std::string_view value);

/// Whether the bytes are well-formed UTF-8 (RFC 3629), which pax takes names for unless told otherwise.
bool is_utf8(std::string_view text);

/// GNU tar writes '=' and '%' in an attribute's name as %3D and %25, because '=' ends a key.
std::string escaped_attribute_name(std::string_view name);
std::string plain_attribute_name(std::string_view name);

/// What a header's records say, as far as they are the common ones in their plainest form.
struct PaxRecords {
  std::optional<std::string> path, link;
  std::optional<std::uint64_t> size, uid, gid;
  std::optional<Timespec> mtime, atime, ctime, btime;
  Xattrs xattrs;
  /// There is more than that, which counts: a sparse map, a textual ACL, a time before 1970, a key or form that is not
  /// known here, or a key twice. Everything but `size` may be incomplete.
  bool others = false;
  /// Of the version of GNU tar's sparse map there is only the major or only the minor number.
  bool half_version = false;
  bool names_folder = false;  ///< a name among them is a folder's (is_folder_name), known or not
};

/// Whether libarchive, for which a name ends with a zero byte, takes a member of that name for a folder, whatever its
/// type says.
bool is_folder_name(std::string_view name);

/// Nothing if the records are malformed, or do not say in a plain way what the size is.
std::optional<PaxRecords> read_pax_records(std::string_view records);

}  // namespace stellarium::fs
