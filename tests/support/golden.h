#pragma once
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "support/file_text.h"

namespace stellarium::test {

/// The bytes of a file of tests/golden: an example of a released format version, which every later version must still
/// read.
inline std::string golden(const std::string& name) {
  return file_text(std::filesystem::path{STELLARIUM_GOLDEN_DIR} / name);
}

/// What a test should compare with the file `name`: its bytes, or, where STELLARIUM_WRITE_GOLDEN is set, `made` after
/// writing it there.
inline std::string golden_or_write(const std::string& name, std::string_view made) {
  if (std::getenv("STELLARIUM_WRITE_GOLDEN") != nullptr) {
    std::ofstream{std::filesystem::path{STELLARIUM_GOLDEN_DIR} / name, std::ios::binary} << made;
  }
  return golden(name);
}

}  // namespace stellarium::test
