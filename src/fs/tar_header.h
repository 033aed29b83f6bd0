#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace stellarium::fs {

inline constexpr std::size_t kTarBlock = 512;

/// One header block of a ustar archive (POSIX.1-2001, "ustar Interchange Format"). Names of users and groups are left
/// empty: numbers count.
struct TarHeader {
  std::string_view name, link;                          ///< cut to the field's 100 bytes: longer ones need a pax record
  std::uint32_t mode = 0;                               ///< permission bits
  std::uint64_t uid = 0, gid = 0, size = 0, mtime = 0;  ///< 0 where the field is too small: they need a pax record
  char type = '0';
  std::uint32_t device_major = 0, device_minor = 0;

  static constexpr std::uint64_t kMaxOwner = 07777777, kMaxNumber = 077777777777;
  static constexpr std::size_t kMaxName = 100;
  std::array<char, kTarBlock> encode() const;
};

/// Appends one record of a pax extended header: "LENGTH KEY=VALUE\n", where LENGTH counts itself.
void put_pax_record(std::string& records, std::string_view key, std::string_view value);

/// Whether the bytes are well-formed UTF-8 (RFC 3629), which pax takes names for unless told otherwise.
bool is_utf8(std::string_view text);

}  // namespace stellarium::fs
