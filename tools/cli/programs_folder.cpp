#include "tools/cli/programs_folder.h"

#include <unistd.h>

namespace stellarium::cli {

Result<std::filesystem::path> programs_folder() {
  std::error_code failed;
  const std::filesystem::path here = std::filesystem::read_symlink("/proc/self/exe", failed).parent_path();
  for (const auto& folder : {here, here.parent_path() / "libexec" / "stellarium"}) {
    if (::access((folder / "stellarium-keeper").c_str(), X_OK) == 0) return folder;
  }
  return fail(Errc::not_found, "stellarium-keeper is neither beside the stellarium command in " + here.string() +
                                   " nor in ../libexec/stellarium: install the whole package");
}

}  // namespace stellarium::cli
