#pragma once
#include <filesystem>

#include "base/result.h"

namespace stellarium::cli {

/// The folder of the keeper, the server and the transport: beside the command in a build, in libexec where it is
/// installed. Errors: not_found.
Result<std::filesystem::path> programs_folder();

}  // namespace stellarium::cli
