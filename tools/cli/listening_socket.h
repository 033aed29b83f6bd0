#pragma once
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

// Unix sockets on which one program of the same user connects.
namespace stellarium::cli {

/// A listening socket at `path`, to which only its user may connect. One that a killed command left there, on which
/// nobody listens, is replaced. It appears there when it listens. Errors: invalid_argument (the path is too long), io
/// (somebody listens there).
Result<UniqueFd> listen_on(const std::string& path);

/// A connection to the socket at `path`.
Result<UniqueFd> connect_to(const std::string& path);

}  // namespace stellarium::cli
