#include <algorithm>

#include "cdn/objects.h"

namespace stellarium::cdn {
namespace {

constexpr std::size_t kMaxPath = 512;

bool is_path_byte(char byte) {
  return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') || byte == '.' ||
         byte == '_' || byte == '+' || byte == '-' || byte == '/';
}

}  // namespace

bool is_object_path(std::string_view path) {
  if (path.empty() || path.size() > kMaxPath || !std::all_of(path.begin(), path.end(), is_path_byte)) return false;
  char before = '/';
  for (const char byte : path) {
    if (before == '/' && (byte == '/' || byte == '.')) return false;
    before = byte;
  }
  return before != '/';
}

}  // namespace stellarium::cdn
