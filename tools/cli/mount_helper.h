#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace stellarium::cli {

/// Whether the program was called by mount(8): `mount -t stellarium` runs mount.stellarium, which is a link to it.
bool is_mount_helper(std::string_view program);

/// What mount(8) gives its helpers (SPEC DIR [-sfnv] [-o OPTIONS] [-t TYPE]) as words of `stellarium mount`; none if
/// nothing is to be done (-f). SPEC is an image, or "none" for the whole store. Of the options, `store=DIR` and
/// `no_passthrough` are ours; `rw`, which mount(8) adds by itself, is dropped.
/// Errors: invalid_argument.
Result<std::vector<std::string>> words_of_mount_helper(const std::vector<std::string>& words);

/// The exit code that mount(8) expects for one of ours.
int exit_code_of_mount_helper(int exit_code);

}  // namespace stellarium::cli
