#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"
#include "tools/cli/command_line.h"

// The kernel that an image brings, and its initial file system.
namespace stellarium::cli {

struct BootFiles {
  std::string kernel, initrd;  ///< paths; no initrd: empty
};

/// The newest of the kernels vmlinuz-VERSION in a folder, and initrd.img-VERSION if that is there. `listing`: a name on
/// each line.
std::optional<BootFiles> newest_kernel(const std::string& folder, std::string_view listing);

/// The same of /boot in `ref`. Errors: not_found; unavailable (no such `ref`), without words: it was told.
Result<BootFiles> kernel_of_image(const Invocation& invocation, const std::filesystem::path& store,
                                  const std::string& ref);

/// A file of `ref` in memory of this process: it is gone when the descriptor is. Nothing: what was wrong was told.
std::optional<UniqueFd> take_out(const Invocation& invocation, const std::filesystem::path& store,
                                 const std::string& ref, const std::string& path);

}  // namespace stellarium::cli
