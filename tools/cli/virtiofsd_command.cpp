#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <optional>
#include <utility>
#include <vector>

#include "tools/cli/commands.h"
#include "tools/cli/connection.h"
#include "tools/cli/continuation.h"
#include "tools/cli/interrupts.h"
#include "tools/cli/listening_socket.h"
#include "tools/cli/virtiofsd_words.h"

// `stellarium virtiofsd`: the command process makes the socket, with the user's rights, and hands it to the server. It
// stays as long as it is served: when it ends, so does the device.
namespace stellarium::cli {
namespace {

constexpr std::chrono::seconds kSoon{5};
constexpr int kMaxSoonLost = 8;

/// Has the device served as long as there are servers: one that ended without a word, because it was killed or is being
/// replaced, has a successor that goes on with what this process keeps. The monitor then connects again. What ends
/// every server soon is not offered to one more: the next server takes over the very request that the last one died of.
/// Where the successor is of another build, the program of that build goes on in our place.
int stay(const Invocation& invocation, const std::filesystem::path& store, Connection connection,
         const std::vector<std::string>& words, Continuation having, std::optional<Interrupts>& until_served) {
  bool lost = false;
  Handlers handlers;
  handlers.keep = [&](UniqueFd memory) { having.kept = std::move(memory); };
  handlers.lost = &lost;
  for (int soon_lost = 0; soon_lost < kMaxSoonLost;) {
    const auto began = std::chrono::steady_clock::now();
    std::vector<int> sent{having.listening.get()};
    if (having.kept) sent.push_back(having.kept.get());
    const auto asked = connection.request(words, false, sent);
    const int code = asked ? follow(connection, invocation.global, handlers) : 1;
    until_served.reset();
    if (asked && !std::exchange(lost, false)) return code;
    soon_lost = std::chrono::steady_clock::now() - began < kSoon ? soon_lost + 1 : 0;
    auto next = Connection::open(store, Start::if_store);
    if (!next && next.error().code == Errc::version) print_note(to_string(continue_as_present_program(having)));
    if (!next) return complain(next.error());
    connection = std::move(*next);
  }
  return complain(Error{Errc::unavailable,
                        "the server ended " + std::to_string(kMaxSoonLost) +
                            " times soon after it had begun to serve this: see run/server.log in the store",
                        0});
}

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
  auto continued = take_continuation();
  auto connection = Connection::open(store, Start::if_store);
  const std::string made = options->socket_path;
  if (!connection) {
    if (continued && !made.empty()) ::unlink(made.c_str());
    return complain(connection.error());
  }
  std::optional<Interrupts> until_served{std::in_place};  // whoever sees the socket may end us, and it goes with us
  if (!continued) {
    auto listening = socket_for(*options);
    if (!listening) return complain(listening.error());
    continued = Continuation{std::move(*listening), {}};
  }
  if (made.empty())
    options->socket_path = "descriptor " + std::to_string(options->fd) + " of process " + std::to_string(::getpid());
  const int code = stay(invocation, store, std::move(*connection), words_for(invocation, virtiofsd_words(*options)),
                        std::move(*continued), until_served);
  if (!made.empty()) ::unlink(made.c_str());
  return code == 128 + SIGTERM ? 0 : code;  // how a machine's monitor ends it
}

}  // namespace stellarium::cli
