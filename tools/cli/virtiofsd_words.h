#pragma once
#include <string>
#include <vector>

#include "tools/cli/options.h"

namespace stellarium::cli {

/// The words behind `virtiofsd` by which the server is told what to serve. What concerns the command alone is left out.
std::vector<std::string> virtiofsd_words(const VirtiofsdOptions& options);

}  // namespace stellarium::cli
