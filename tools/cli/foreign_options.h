#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

// Options of other virtiofsds (QEMU's, virtio-fs.gitlab.io's) that scripts and machine managers pass.
namespace stellarium::cli {

struct ForeignOption {
  std::string_view name;
  bool has_value = false;
  std::string_view refusal = {};  ///< why it cannot be kept; empty: nothing is lost without it
};

/// All that are known, sorted by name.
std::span<const ForeignOption> foreign_options();

/// What is to be known of them.
struct ForeignMeaning {
  std::string shared_dir;            ///< of `-o source=`; empty: there was none
  std::vector<std::string> ignored;  ///< as they were given
};
/// `given`: NAME or NAME=VALUE; of `o` the value is such a list itself, with '_' for '-' and "no_" before what is off.
/// Errors: not_supported (names the option and says why), invalid_argument (an unknown one within `o`).
Result<ForeignMeaning> read_foreign(const std::vector<std::string>& given);

}  // namespace stellarium::cli
