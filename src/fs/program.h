#pragma once
#include <cstdint>
#include <string_view>

#include "base/bytes.h"

namespace stellarium::fs {

inline bool is_elf(ByteSpan start) {
  return as_text(start).starts_with(
      "\x7f"
      "ELF");
}

/// Whether a regular file that begins with `start` is a program or library: worth a hot file, whatever its size.
inline bool is_program(std::uint32_t mode, ByteSpan start) {
  return (mode & 0111) != 0 || is_elf(start);
}

}  // namespace stellarium::fs
