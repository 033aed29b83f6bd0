#pragma once
#include <string>
#include <vector>

#include "base/result.h"
#include "tools/cli/options.h"

namespace stellarium::cli {

/// What is wanted, where it was said as other virtiofsds want it: with --shared-dir or -o. `ignored` gets what has no
/// meaning here. Errors: invalid_argument, not_supported.
Result<VirtiofsdOptions> plain_virtiofsd(const VirtiofsdOptions& given, std::vector<std::string>& ignored);

/// Whether the program was started under the name of a virtiofsd: then its words are those behind `virtiofsd`.
bool is_virtiofsd(const char* program);

/// The words behind `virtiofsd` by which the server is told what to serve. What concerns the command alone is left out.
std::vector<std::string> virtiofsd_words(const VirtiofsdOptions& options);

}  // namespace stellarium::cli
