#include "fs/fuse/mount_table.h"

#include <fstream>
#include <sstream>

namespace stellarium::fs::fuse {
namespace {

bool is_octal(char digit) {
  return digit >= '0' && digit <= '7';
}

/// The kernel writes blank, tab, newline and backslash as \ooo.
std::string unescaped(std::string_view text) {
  std::string plain;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '\\' && at + 3 < text.size() && is_octal(text[at + 1]) && is_octal(text[at + 2]) &&
        is_octal(text[at + 3])) {
      plain.push_back(static_cast<char>((text[at + 1] - '0') * 64 + (text[at + 2] - '0') * 8 + (text[at + 3] - '0')));
      at += 3;
    } else {
      plain.push_back(text[at]);
    }
  }
  return plain;
}

}  // namespace

std::optional<MountEntry> parse_mountinfo(std::string_view line) {
  // id parent major:minor root mountpoint options [optional fields] - type source super-options
  std::istringstream words{std::string{line}};
  std::string id, parent, device, root, mountpoint, word;
  if (!(words >> id >> parent >> device >> root >> mountpoint)) return std::nullopt;
  while (words >> word) {
    if (word != "-") continue;
    std::string type;
    if (!(words >> type)) return std::nullopt;
    return MountEntry{device, unescaped(mountpoint), type};
  }
  return std::nullopt;
}

std::optional<MountEntry> mount_in(std::istream& table, const std::string& path) {
  std::optional<MountEntry> topmost;
  for (std::string line; std::getline(table, line);) {
    auto entry = parse_mountinfo(line);
    if (entry && entry->mountpoint == path) topmost = std::move(entry);
  }
  return topmost;
}

std::optional<MountEntry> mount_on(const std::string& path) {
  std::ifstream mounts{"/proc/self/mountinfo"};
  return mount_in(mounts, path);
}

}  // namespace stellarium::fs::fuse
