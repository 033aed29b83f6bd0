#include <signal.h>
#include <unistd.h>

#include "tools/cli/commands.h"
#include "tools/cli/connection.h"
#include "tools/cli/listening_socket.h"
#include "tools/cli/virtiofsd_words.h"

// `stellarium virtiofsd`: the command process makes the socket, with the user's rights, and hands it to the server. It
// stays as long as it is served: when it ends, so does the device.
namespace stellarium::cli {

int run_virtiofsd(const Invocation& invocation, const std::filesystem::path& store) {
  const auto& options = std::get<VirtiofsdOptions>(invocation.command);
  auto connection = Connection::open(store, Start::if_store);
  if (!connection) return complain(connection.error());
  const auto listening = listen_on(options.socket_path);
  if (!listening) return complain(listening.error());
  const int sent[] = {listening->get()};
  int code = 1;
  if (auto asked = connection->request(words_for(invocation, virtiofsd_words(options)), false, sent); !asked) {
    code = complain(asked.error());
  } else {
    code = follow(*connection, invocation.global, {});
  }
  ::unlink(options.socket_path.c_str());
  return code == 128 + SIGTERM ? 0 : code;  // how a machine's monitor ends it
}

}  // namespace stellarium::cli
