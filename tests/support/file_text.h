#pragma once
#include <filesystem>
#include <fstream>
#include <string>

namespace stellarium::test {

/// What a file holds. Read at once: an iterator over a stream's bytes takes a microsecond for each under a sanitizer.
inline std::string file_text(const std::filesystem::path& file) {
  std::ifstream in{file, std::ios::binary | std::ios::ate};
  std::string text(in ? static_cast<std::size_t>(in.tellg()) : 0, '\0');
  in.seekg(0);
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  return text;
}

}  // namespace stellarium::test
