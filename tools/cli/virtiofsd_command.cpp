#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "tools/cli/commands.h"
#include "tools/cli/connection.h"

// `stellarium virtiofsd`: the command process makes the socket, with the user's rights, and hands it to the server. It
// stays as long as it is served: when it ends, so does the device.
namespace stellarium::cli {
namespace {

Result<sockaddr_un> address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path)
    return fail(Errc::invalid_argument, path + ": the path of a socket has at most 107 bytes");
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

UniqueFd make_socket() {
  return UniqueFd{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
}

/// Removes what a command that was killed left: a socket on which nobody listens.
void remove_left_over(const sockaddr_un& address) {
  struct stat status {};
  if (::lstat(address.sun_path, &status) != 0 || !S_ISSOCK(status.st_mode)) return;
  const UniqueFd probe = make_socket();
  if (probe && ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 &&
      errno == ECONNREFUSED)
    ::unlink(address.sun_path);
}

/// Only its user may connect.
Result<UniqueFd> listen_on(const std::string& path) {
  const auto address = address_of(path);
  if (!address) return fail(address.error());
  remove_left_over(*address);
  UniqueFd listening = make_socket();
  if (!listening) return fail_errno("making a socket");
  const mode_t before = ::umask(0177);
  const int bound = ::bind(listening.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address);
  const int failed = errno;
  ::umask(before);
  if (bound != 0) return fail_errno(path, failed);
  if (::listen(listening.get(), 1) != 0) return fail_errno("listening on " + path);
  return listening;
}

/// Has the device served as long as there are servers: one that ended without a word, because it was killed or is being
/// replaced, has a successor that goes on with what this process keeps. The monitor then connects again.
int stay(const Invocation& invocation, const std::filesystem::path& store, Connection connection,
         const std::vector<std::string>& words, const UniqueFd& listening) {
  UniqueFd kept;
  bool lost = false;
  Handlers handlers;
  handlers.keep = [&](UniqueFd memory) { kept = std::move(memory); };
  handlers.lost = &lost;
  while (true) {
    std::vector<int> sent{listening.get()};
    if (kept) sent.push_back(kept.get());
    const auto asked = connection.request(words, false, sent);
    const int code = asked ? follow(connection, invocation.global, handlers) : 1;
    if (asked && !std::exchange(lost, false)) return code;
    auto next = Connection::open(store, Start::if_store);
    if (!next) return complain(next.error());
    connection = std::move(*next);
  }
}

}  // namespace

int run_virtiofsd(const Invocation& invocation, const std::filesystem::path& store) {
  const auto& options = std::get<VirtiofsdOptions>(invocation.command);
  auto connection = Connection::open(store, Start::if_store);
  if (!connection) return complain(connection.error());
  const auto listening = listen_on(options.socket_path);
  if (!listening) return complain(listening.error());
  const std::vector<std::string> arguments{"--socket-path",
                                           options.socket_path,
                                           "--tag",
                                           options.tag,
                                           "--request-queues",
                                           std::to_string(options.request_queues),
                                           "--dax-window",
                                           options.dax_window,
                                           "--shmem-feature-bit",
                                           std::to_string(options.shmem_feature_bit),
                                           "--",
                                           options.ref};
  const int code = stay(invocation, store, std::move(*connection), words_for(invocation, arguments), *listening);
  ::unlink(options.socket_path.c_str());
  return code == 128 + SIGTERM ? 0 : code;  // how a machine's monitor ends it
}

}  // namespace stellarium::cli
