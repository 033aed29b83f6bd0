#pragma once
#include <string>
#include <vector>

namespace stellarium::text {

/// A command line that a POSIX shell reads as these words: quoted only where it must be.
std::string shell_line(const std::vector<std::string>& words);

}  // namespace stellarium::text
