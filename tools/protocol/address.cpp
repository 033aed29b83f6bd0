#include "tools/protocol/address.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

namespace stellarium::protocol {
namespace {

constexpr int kBacklog = 128;  // commands that wait while a server is being started

Result<UniqueFd> open_folder(const std::filesystem::path& run) {
  UniqueFd folder{::open(run.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};
  if (!folder) return fail_errno(run.string());
  return folder;
}

sockaddr_un address_in(int folder) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = "/proc/self/fd/" + std::to_string(folder) + "/" + kSocketName;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);  // at most 40 bytes
  return address;
}

Result<UniqueFd> make_socket() {
  UniqueFd socket{::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)};
  if (!socket) return fail_errno("socket");
  return socket;
}

}  // namespace

Result<UniqueFd> listen_in(const std::filesystem::path& run) {
  auto folder = open_folder(run);
  if (!folder) return fail(folder.error());
  auto socket = make_socket();
  if (!socket) return fail(socket.error());
  if (::unlinkat(folder->get(), kSocketName, 0) != 0 && errno != ENOENT)
    return fail_errno((run / kSocketName).string());
  const sockaddr_un address = address_in(folder->get());
  if (::bind(socket->get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(socket->get(), kBacklog) != 0) {
    return fail_errno("listening on " + (run / kSocketName).string());
  }
  return socket;
}

Result<UniqueFd> connect_in(const std::filesystem::path& run) {
  auto folder = open_folder(run);
  if (!folder) return fail(folder.error());
  auto socket = make_socket();
  if (!socket) return fail(socket.error());
  const sockaddr_un address = address_in(folder->get());
  if (::connect(socket->get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    if (errno == ENOENT || errno == ECONNREFUSED) return fail(Errc::not_found, "no daemon listens in " + run.string());
    return fail_errno("connecting to " + (run / kSocketName).string());
  }
  return socket;
}

Result<Peer> peer_of(int socket) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return fail_errno("SO_PEERCRED");
  return Peer{credentials.pid, credentials.uid};
}

}  // namespace stellarium::protocol
