#include "tools/server/sandbox/places.h"

namespace stellarium::server::sandbox {

std::vector<std::filesystem::path> moved_folders(const std::filesystem::path& store) {
  std::vector<std::filesystem::path> found;
  std::error_code ignored;  // what cannot be looked at is not there
  for (const auto& entry : std::filesystem::directory_iterator{store, ignored}) {
    if (!entry.is_symlink(ignored) || !entry.is_directory(ignored)) continue;
    auto folder = std::filesystem::canonical(entry.path(), ignored);
    if (!folder.empty()) found.push_back(std::move(folder));
  }
  return found;
}

}  // namespace stellarium::server::sandbox
