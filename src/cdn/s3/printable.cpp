#include "cdn/s3/printable.h"

namespace stellarium::cdn::s3 {

std::string printable(std::string_view text) {
  constexpr std::size_t kMost = 200;
  std::string line;
  for (const char byte : text.substr(0, kMost)) line.push_back(byte >= ' ' && byte < 0x7f ? byte : '?');
  return text.size() > kMost ? line + "…" : line;
}

}  // namespace stellarium::cdn::s3
