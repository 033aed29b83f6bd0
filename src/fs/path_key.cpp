#include "fs/path_key.h"

#include <cassert>

#include "base/bytes.h"
#include "fs/records.h"

namespace stellarium::fs {
namespace {

constexpr std::size_t kDepthSize = 2;
constexpr std::size_t kHashSize = 7;  // 55 bits

// Where the last component begins.
std::size_t last_start(std::string_view key) {
  std::size_t start = kDepthSize;
  while (true) {
    const std::size_t end = key.find('\0', start + kHashSize) + 1;
    assert(end != 0);
    if (end == key.size()) return start;
    start = end;
  }
}

void append_component(std::string& key, std::string_view name) {
  char hash[8];
  store_be<std::uint64_t>(hash, name_hash(name));
  key.append(hash + 1, kHashSize);
  key += name;
  key += '\0';
}

}  // namespace

Result<std::string> normal_path(std::string_view path) {
  if (path.empty()) return fail(Errc::invalid_argument, "a member without a name");
  if (path.front() == '/') return fail(Errc::invalid_argument, "the path is absolute");
  if (path.size() > kMaxPath)
    return fail(Errc::invalid_argument,
                "the path is " + std::to_string(path.size()) + " bytes long, at most 4095 are possible");
  std::string normal;
  while (!path.empty()) {
    const std::size_t slash = std::min(path.find('/'), path.size());
    const std::string_view name = path.substr(0, slash);
    path.remove_prefix(std::min(slash + 1, path.size()));
    if (name.empty() || name == ".") continue;
    if (name == "..") return fail(Errc::invalid_argument, "the path leaves the tree");
    if (name.size() > kMaxName)
      return fail(Errc::invalid_argument,
                  "a name of " + std::to_string(name.size()) + " bytes, at most 255 are possible");
    if (!valid_name(name)) return fail(Errc::invalid_argument, "a name with a NUL byte");
    if (!normal.empty()) normal += '/';
    normal += name;
  }
  return normal;
}

std::string path_key(std::string_view normal_path) {
  std::string key(kDepthSize, '\0');
  key.reserve(kDepthSize + normal_path.size() + 64);
  std::uint16_t depth = 0;
  while (!normal_path.empty()) {
    const std::size_t slash = std::min(normal_path.find('/'), normal_path.size());
    append_component(key, normal_path.substr(0, slash));
    normal_path.remove_prefix(std::min(slash + 1, normal_path.size()));
    ++depth;
  }
  store_be(key.data(), depth);
  return key;
}

std::string key_below(std::string_view directory, std::string_view name) {
  std::string key;
  key.reserve(directory.size() + kHashSize + name.size() + 1);
  key = directory;
  append_component(key, name);
  store_be(key.data(), static_cast<std::uint16_t>(load_be<std::uint16_t>(directory.data()) + 1));
  return key;
}

std::string parent_of_key(std::string_view key) {
  std::string parent{key.substr(0, last_start(key))};
  store_be(parent.data(), static_cast<std::uint16_t>(load_be<std::uint16_t>(key.data()) - 1));
  return parent;
}

LastComponent last_component(std::string_view key) {
  const std::string_view component = key.substr(last_start(key));
  char hash[8] = {};
  component.copy(hash + 1, kHashSize);
  return {load_be<std::uint64_t>(hash), component.substr(kHashSize, component.size() - kHashSize - 1)};
}

std::string path_of_key(std::string_view key) {
  if (is_root_key(key)) return "/";
  std::string path;
  for (std::size_t at = kDepthSize; at < key.size();) {
    const std::size_t end = key.find('\0', at + kHashSize);
    if (!path.empty()) path += '/';
    path += key.substr(at + kHashSize, end - at - kHashSize);
    at = end + 1;
  }
  return path;
}

}  // namespace stellarium::fs
