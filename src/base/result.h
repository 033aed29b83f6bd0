#pragma once
#include <cerrno>
#include <string>
#include <tl/expected.hpp>
#include <utility>

#include "base/error.h"

namespace stellarium {

/// A value or the reason why there is none. Functions that return it are [[nodiscard]].
template <typename T>
using Result = tl::expected<T, Error>;

/// The only way to make an error, so that a move to std::expected later touches this file alone.
[[nodiscard]] inline tl::unexpected<Error> fail(Errc code, std::string context) {
  return tl::unexpected<Error>(Error{code, std::move(context), 0});
}

/// Passes an error on and says what was being done: "reading chunk ab12…: no such segment".
[[nodiscard]] inline tl::unexpected<Error> fail(Error error, std::string doing) {
  error.context = error.context.empty() ? std::move(doing) : std::move(doing) + ": " + error.context;
  return tl::unexpected<Error>(std::move(error));
}

/// Passes an error on as it is.
[[nodiscard]] inline tl::unexpected<Error> fail(Error error) {
  return tl::unexpected<Error>(std::move(error));
}

/// The failure of the system call that has just set errno.
[[nodiscard]] inline tl::unexpected<Error> fail_errno(std::string doing, int sys_errno = errno) {
  return tl::unexpected<Error>(Error{errc_from_errno(sys_errno), std::move(doing), sys_errno});
}

}  // namespace stellarium
