#pragma once
#include <sys/types.h>

#include <filesystem>

#include "base/result.h"
#include "base/unique_fd.h"

// The store's socket, STORE/run/daemon.sock. A socket address holds 108 bytes, a path 4,096: both ends name the socket
// through a descriptor of its folder (/proc/self/fd/N/daemon.sock), so that any store path works and nobody changes
// directory.
namespace stellarium::protocol {

inline constexpr const char* kSocketName = "daemon.sock";

/// A listening socket in the folder `run`; a socket left there by an earlier keeper is replaced.
Result<UniqueFd> listen_in(const std::filesystem::path& run);

/// A connection to whoever listens in the folder `run`. Errors: not_found (no socket, or nobody listens), permission,
/// io.
Result<UniqueFd> connect_in(const std::filesystem::path& run);

/// Who is at the other end, as the kernel saw it when the connection was made.
struct Peer {
  pid_t pid = 0;
  uid_t uid = 0;
};
Result<Peer> peer_of(int socket);

}  // namespace stellarium::protocol
