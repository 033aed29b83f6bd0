#include "tools/cli/listening_socket.h"

#include <fcntl.h>
#include <grp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>

namespace stellarium::cli {
namespace {

constexpr int kWaiting = 8;  // connections that nobody has accepted yet, as while there is no server

Result<sockaddr_un> address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path)
    return fail(Errc::invalid_argument, path + ": the path of a socket has at most 107 bytes");
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

UniqueFd make_socket(int type = SOCK_STREAM) {
  return UniqueFd{::socket(AF_UNIX, type | SOCK_CLOEXEC, 0)};
}

bool connects(int socket, const sockaddr_un& address) {
  return ::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

/// Asks with a socket of the other type, to which one that is alive answers EPROTOTYPE and a left one ECONNREFUSED
/// (unix(7)): a connection would be taken for the monitor's, and what is served there would end with it.
void remove_left_over(const sockaddr_un& address) {
  struct stat status {};
  if (::lstat(address.sun_path, &status) != 0 || !S_ISSOCK(status.st_mode)) return;
  const UniqueFd probe = make_socket(SOCK_DGRAM);
  if (probe && !connects(probe.get(), address) && errno == ECONNREFUSED) ::unlink(address.sun_path);
}

/// By /etc/group alone: getgrnam(3) loads libraries, which a program without shared ones cannot.
std::optional<gid_t> group_id(const std::string& group) {
  gid_t id = 0;
  const char* const end = group.data() + group.size();
  if (const auto [parsed, error] = std::from_chars(group.data(), end, id); error == std::errc{} && parsed == end)
    return id;
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> groups{std::fopen("/etc/group", "re"), &std::fclose};
  while (const struct group* const each = groups ? ::fgetgrent(groups.get()) : nullptr)
    if (each->gr_name == group) return each->gr_gid;
  return std::nullopt;
}

}  // namespace

Result<UniqueFd> listen_on(const std::string& path) {
  const auto address = address_of(path);
  if (!address) return fail(address.error());
  remove_left_over(*address);
  UniqueFd listening = make_socket();
  if (!listening) return fail_errno("making a socket");
  // Under another name until it listens: who waits for the socket to appear connects at once.
  const std::filesystem::path folder = std::filesystem::path{path}.parent_path();
  const std::string soon = folder / ("." + std::to_string(::getpid()) + ".socket");
  const auto temporary = address_of(soon);
  const sockaddr_un& bound_to = temporary ? *temporary : *address;
  if (temporary) ::unlink(soon.c_str());
  const mode_t before = ::umask(0177);
  const int bound = ::bind(listening.get(), reinterpret_cast<const sockaddr*>(&bound_to), sizeof bound_to);
  const int failed = errno;
  ::umask(before);
  if (bound != 0) return fail_errno(path, failed);
  if (::listen(listening.get(), kWaiting) != 0) return fail_errno("listening on " + path);
  if (!temporary) return listening;
  if (::renameat2(AT_FDCWD, soon.c_str(), AT_FDCWD, path.c_str(), RENAME_NOREPLACE) != 0) {
    const int not_renamed = errno;
    ::unlink(soon.c_str());
    return fail_errno(path, not_renamed == EEXIST ? EADDRINUSE : not_renamed);
  }
  return listening;
}

Result<void> share_with_group(const std::string& path, const std::string& group) {
  const auto id = group_id(group);
  if (!id) return fail(Errc::not_found, "there is no group " + group + " in /etc/group: its number will do, too");
  if (::chown(path.c_str(), static_cast<uid_t>(-1), *id) != 0 || ::chmod(path.c_str(), 0660) != 0)
    return fail_errno("giving " + path + " to group " + group);
  return {};
}

Result<UniqueFd> inherited_socket(int fd) {
  const auto option = [fd](int name) {
    int value = 0;
    socklen_t size = sizeof value;
    return ::getsockopt(fd, SOL_SOCKET, name, &value, &size) == 0 ? value : -1;
  };
  if (option(SO_DOMAIN) != AF_UNIX || option(SO_TYPE) != SOCK_STREAM || option(SO_ACCEPTCONN) != 1)
    return fail(Errc::invalid_argument, "descriptor " + std::to_string(fd) + " is no listening Unix socket");
  UniqueFd own{::fcntl(fd, F_DUPFD_CLOEXEC, 3)};
  if (!own) return fail_errno("descriptor " + std::to_string(fd));
  return own;
}

Result<UniqueFd> connect_to(const std::string& path) {
  const auto address = address_of(path);
  if (!address) return fail(address.error());
  UniqueFd socket = make_socket();
  if (!socket) return fail_errno("making a socket");
  if (!connects(socket.get(), *address)) return fail_errno("connecting to " + path);
  return socket;
}

}  // namespace stellarium::cli
