#include <signal.h>
#include <unistd.h>

#include <cstdio>

#include "tools/cli/commands.h"
#include "tools/cli/connection.h"
#include "tools/cli/listening_socket.h"
#include "tools/cli/virtiofsd_words.h"

// `stellarium virtiofsd`: the command process makes the socket, with the user's rights, and hands it to the server. It
// stays as long as it is served: when it ends, so does the device.
namespace stellarium::cli {
namespace {

Result<UniqueFd> socket_for(const VirtiofsdOptions& options) {
  if (options.fd >= 0) return inherited_socket(options.fd);
  auto listening = listen_on(options.socket_path);
  if (!listening || options.socket_group.empty()) return listening;
  if (auto shared = share_with_group(options.socket_path, options.socket_group); !shared) {
    ::unlink(options.socket_path.c_str());
    return fail(shared.error());
  }
  return listening;
}

}  // namespace

int run_virtiofsd(const Invocation& invocation, const std::filesystem::path& store) {
  const auto& given = std::get<VirtiofsdOptions>(invocation.command);
  if (given.print_capabilities) {  // of vhost-user's conventions for back-ends; asked before there is any store
    std::puts("{\n  \"type\": \"fs\"\n}");
    return 0;
  }
  std::vector<std::string> ignored;
  auto options = plain_virtiofsd(given, ignored);
  if (!options) return complain(options.error());
  if (invocation.global.verbose)
    for (const std::string& option : ignored) print_note(option + " has no meaning here, and is not needed");
  auto connection = Connection::open(store, Start::if_store);
  if (!connection) return complain(connection.error());
  const auto listening = socket_for(*options);
  if (!listening) return complain(listening.error());
  const std::string made = options->socket_path;
  if (made.empty())
    options->socket_path = "descriptor " + std::to_string(options->fd) + " of process " + std::to_string(::getpid());
  const int sent[] = {listening->get()};
  int code = 1;
  if (auto asked = connection->request(words_for(invocation, virtiofsd_words(*options)), false, sent); !asked) {
    code = complain(asked.error());
  } else {
    code = follow(*connection, invocation.global, {});
  }
  if (!made.empty()) ::unlink(made.c_str());
  return code == 128 + SIGTERM ? 0 : code;  // how a machine's monitor ends it
}

}  // namespace stellarium::cli
