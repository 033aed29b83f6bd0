#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace stellarium {

/// What a caller can branch on. Everything else that is known about a failure is prose in `Error::context`.
enum class Errc : std::uint8_t {
  not_found,         ///< the named thing does not exist
  exists,            ///< the name is taken
  corrupt,           ///< stored bytes are not what was stored
  invalid_argument,  ///< the caller, a user or a peer sent something malformed
  not_supported,     ///< well-formed, but not something this kernel, file system or version can do
  permission,        ///< not allowed
  busy,              ///< in use; trying again later may help
  out_of_space,      ///< disk, quota or a stated budget is full
  unavailable,       ///< a source cannot be reached now
  cancelled,         ///< the caller went away or asked to stop
  version,           ///< written by another version of the format
  io,                ///< the operating system reported a failure
};

/// A failure as a value. `context` is what a person reads: which object, where, expected and found.
struct Error {
  Errc code = Errc::io;
  std::string context;
  int sys_errno = 0;  ///< of the failed call; 0 if there was none
};

/// The code's name as it appears in logs and JSON ("not_found").
std::string_view name_of(Errc code);

/// One line for a person: the context, and the system's own words where a call failed.
std::string to_string(const Error& error);

/// The code that a failed system call maps to.
Errc errc_from_errno(int sys_errno);

/// The errno a program should see for `error`: its own where it has one that fits, else the code's.
int errno_of(const Error& error);

}  // namespace stellarium
