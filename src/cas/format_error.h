#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace stellarium::cas {

/// "FIELD: expected E, found F": how the parsers of this component word a mismatch.
inline std::string expected_found(std::string_view field, std::uint64_t expected, std::uint64_t found) {
  return std::string{field} + ": expected " + std::to_string(expected) + ", found " + std::to_string(found);
}

}  // namespace stellarium::cas
