#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"
#include "tools/cli/command_line.h"
#include "tools/cli/connection.h"

// What a command needs that makes a clone for the time that it runs (nspawn, vm).
namespace stellarium::cli {

constexpr int kInterrupted = 128;  ///< exit codes above: 128 + the signal

/// Runs one of our own commands in this process; the exit code.
int run_words(const Invocation& invocation, const std::filesystem::path& store, const std::vector<std::string>& words,
              const Handlers& handlers = {});

/// Whether `ref` names a clone, which a run then uses itself. Errors: unavailable, which was told.
Result<bool> is_clone(const Invocation& invocation, const std::filesystem::path& store, const std::string& ref,
                      Handlers handlers = {});

/// A name that no clone has yet, after the image or clone that `ref` names.
Result<std::string> fresh_name(const std::string& ref);

}  // namespace stellarium::cli
