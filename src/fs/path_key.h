#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

// The order in which a layer is numbered and stored: breadth first, the entries of one directory in cookie order. A
// path key is a path written so that its byte order is that order: depth (2 bytes), then for each component its hash (7
// bytes), the name, NUL.
namespace stellarium::fs {

inline constexpr std::size_t kMaxPath = 4095;  ///< bytes, as PATH_MAX without its NUL

/// `path` without empty and "." components and without a slash at either end; the root is "".
/// Errors: invalid_argument for absolute paths, "..", names over 255 bytes, paths over kMaxPath, NUL.
Result<std::string> normal_path(std::string_view path);

std::string path_key(std::string_view normal_path);
/// The key of the entry `name` of the directory whose key is `directory`.
std::string key_below(std::string_view directory, std::string_view name);
/// The key of the directory that holds what `key` names, which must not be the root.
std::string parent_of_key(std::string_view key);
std::string path_of_key(std::string_view key);  ///< for messages

struct LastComponent {
  std::uint64_t hash = 0;
  std::string_view name = {};
};
LastComponent last_component(std::string_view key);
inline bool is_root_key(std::string_view key) {
  return key.size() == 2;
}

}  // namespace stellarium::fs
