#pragma once
#include <optional>

#include "base/result.h"
#include "base/unique_fd.h"

namespace stellarium::cli {

/// What a command that outlives its server hands on to the program that goes on in its place: an upgrade has replaced
/// both programs, and a server takes commands of its own build only.
struct Continuation {
  UniqueFd listening;
  UniqueFd kept;  ///< what the server gave (MessageType::keep); may be empty
};

/// What the program before left to this one. Nothing: it is none that goes on. Once: it is not there a second time.
std::optional<Continuation> take_continuation();

/// Has the program that lies now where this one was started from go on as this process, with the same words.
/// Returns only if that cannot be: the descriptors are as they were then. Errors: those of readlink(2) and execve(2).
Error continue_as_present_program(const Continuation& left);

}  // namespace stellarium::cli
