#include "tools/cli/private_folder.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace stellarium::cli {

Result<std::string> folder_for_runs() {
  if (::geteuid() == 0) return "/run/stellarium";
  const char* const of_user = std::getenv("XDG_RUNTIME_DIR");
  if (of_user == nullptr || *of_user == '\0')
    return fail(Errc::not_found, "XDG_RUNTIME_DIR is not set: name a folder of your own there, or be root");
  return std::string{of_user} + "/stellarium";
}

Result<PrivateFolder> PrivateFolder::make(const std::string& kind) {
  const auto parent = folder_for_runs();
  if (!parent) return fail(parent.error());
  if (::mkdir(parent->c_str(), 0755) != 0 && errno != EEXIST) return fail_errno(*parent);
  std::string path = *parent + "/" + kind + ".XXXXXX";
  if (::mkdtemp(path.data()) == nullptr) return fail_errno(path);
  return PrivateFolder{std::move(path)};
}

PrivateFolder::~PrivateFolder() {
  if (!path_.empty()) ::rmdir(path_.c_str());
}

}  // namespace stellarium::cli
