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

/// Lets the members of `group`, a name in /etc/group or a number, connect to the socket at `path`, too. Errors:
/// not_found (no such group), permission.
Result<void> share_with_group(const std::string& path, const std::string& group);

/// A listening Unix socket that our starter left open, as a descriptor of our own. Errors: invalid_argument (none).
Result<UniqueFd> inherited_socket(int fd);

/// A connection to the socket at `path`.
Result<UniqueFd> connect_to(const std::string& path);

}  // namespace stellarium::cli
