#include "tools/cli/store_location.h"

#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <memory>

#include "tools/protocol/store_folder.h"

namespace stellarium::cli {
namespace {

std::filesystem::path home() {
  if (const char* set = std::getenv("HOME"); set != nullptr && *set == '/') return set;
  // Not getpwuid(3), which loads shared libraries: this program has none.
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> users{std::fopen("/etc/passwd", "re"), &std::fclose};
  while (users != nullptr) {
    const passwd* const entry = ::fgetpwent(users.get());
    if (entry == nullptr) break;
    if (entry->pw_uid == ::geteuid()) return entry->pw_dir;
  }
  return "/";
}

/// An XDG base folder: the variable if it is absolute, as the specification demands, else the default below the home.
std::filesystem::path xdg(const char* variable, const char* fallback) {
  if (const char* set = std::getenv(variable); set != nullptr && *set == '/') return set;
  return home() / fallback;
}

}  // namespace

std::filesystem::path store_folder(const std::string& given) {
  std::filesystem::path folder = given;
  if (folder.empty()) {
    const char* set = std::getenv("STELLARIUM_STORE");
    if (set != nullptr && *set != '\0') {
      folder = set;
    } else if (::geteuid() == 0) {
      folder = "/var/lib/stellarium";
    } else {
      folder = xdg("XDG_DATA_HOME", ".local/share") / "stellarium";
    }
  }
  std::error_code failed;
  const auto canonical = std::filesystem::weakly_canonical(std::filesystem::absolute(folder), failed);
  return failed ? std::filesystem::absolute(folder).lexically_normal() : canonical;
}

std::filesystem::path stat_cache_file(const std::string& store_uuid) {
  return xdg("XDG_CACHE_HOME", ".cache") / "stellarium" / (store_uuid + ".stat-cache");
}

Result<StoreState> examine_store(const std::filesystem::path& store) {
  struct stat status {};
  if (::stat(store.c_str(), &status) != 0) {
    if (errno == ENOENT) return StoreState::absent;
    return fail_errno("the store " + store.string());
  }
  if (!S_ISDIR(status.st_mode))
    return fail(Errc::invalid_argument, "the store " + store.string() + " is not a folder: name another with --store");
  std::error_code failed;
  for (const auto& entry : std::filesystem::directory_iterator{store, failed}) {
    const std::string name = entry.path().filename();
    if (name == "format") return StoreState::present;
  }
  if (failed) return fail_errno("the store " + store.string(), failed.value());
  for (const auto& entry : std::filesystem::directory_iterator{store, failed}) {
    const std::string name = entry.path().filename();
    if (!protocol::may_precede_store(name)) {
      return fail(Errc::invalid_argument,
                  store.string() + " holds other files and is no store: name an empty or new folder with --store");
    }
  }
  return StoreState::absent;
}

}  // namespace stellarium::cli
