#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace stellarium::fs {

inline constexpr std::size_t kTarBlock = 512;

/// Bytes after `size` to the end of its block.
inline constexpr std::size_t tar_padding(std::uint64_t size) {
  return static_cast<std::size_t>((kTarBlock - size % kTarBlock) % kTarBlock);
}

/// One header block of a ustar archive (POSIX.1-2001, "ustar Interchange Format"), or of GNU tar's older format. Names
/// of users and groups are left empty: numbers count.
struct TarHeader {
  std::string_view name = {}, link = {};                ///< cut to the field's 100 bytes: longer ones need a pax record
  std::uint32_t mode = 0;                               ///< permission bits
  std::uint64_t uid = 0, gid = 0, size = 0, mtime = 0;  ///< 0 where the field is too small: they need a pax record
  char type = '0';
  std::uint32_t device_major = 0, device_minor = 0;
  std::string_view prefix = {};  ///< of the name, without the slash between; never written
  bool gnu = false;              ///< GNU tar's format

  static constexpr std::uint64_t kMaxOwner = 07777777, kMaxNumber = 077777777777;
  static constexpr std::size_t kMaxName = 100;
  std::array<char, kTarBlock> encode() const;
  /// A header that holds nothing out of the ordinary: right checksum, octal numbers, no fields of GNU's own. Nothing
  /// for every other one. The texts point into `block`, which has kTarBlock bytes.
  static std::optional<TarHeader> decode(std::string_view block);
};

}  // namespace stellarium::fs
