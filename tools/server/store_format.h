#pragma once
#include <filesystem>
#include <string>

#include "base/io.h"
#include "base/result.h"

namespace stellarium::server {

inline constexpr unsigned kStoreVersion = 1;

/// The file STORE/format, two lines of text: which version of the layout, and the store's uuid.
///
/// Opening makes it where the folder is empty but for run/ and lost+found/.
/// Errors: version (another version, naming both), invalid_argument (other files, no store; a format file that is
/// none), io.
Result<std::string> open_format(Io& io, const std::filesystem::path& store);

}  // namespace stellarium::server
