#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>

#include "tools/cli/commands.h"
#include "tools/cli/connection.h"
#include "tools/cli/stopped_processes.h"

// `stellarium snapshot`: the server makes it. What the kernel has not handed to the server yet is written first, and
// with --freeze nobody changes anything from before that until the end.
namespace stellarium::cli {
namespace {

/// The clone's mount as this process sees it; nothing: it is not mounted, or in another mount namespace.
Result<UniqueFd> open_mount(const Invocation& invocation, const std::filesystem::path& store,
                            const std::string& clone) {
  auto connection = Connection::open(store, Start::if_store);
  if (!connection) return fail(connection.error());
  Invocation listing = invocation;
  listing.name = "daemon";
  listing.global.json = true;
  std::string answer;
  if (auto sent = connection->request(words_for(listing, {"mounts"}), false); !sent) return fail(sent.error());
  Handlers handlers;
  handlers.capture_output = &answer;
  if (follow(*connection, listing.global, handlers) != 0) return fail(Errc::unavailable, "the server lists no mounts");
  const auto mounts = nlohmann::json::parse(answer, nullptr, false);
  if (!mounts.is_object() || !mounts.contains("mounts"))
    return fail(Errc::invalid_argument, "the server sent a malformed list of mounts");
  for (const auto& mount : mounts["mounts"]) {
    if (mount.value("image", "") != clone) continue;
    return UniqueFd{::open(mount.value("mountpoint", "").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  }
  return UniqueFd{};
}

/// An interrupt waits until everybody goes on again.
class SignalsHeld {
 public:
  SignalsHeld() {
    sigset_t held;
    ::sigemptyset(&held);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP}) ::sigaddset(&held, signal);
    ::sigprocmask(SIG_BLOCK, &held, &before_);
  }
  SignalsHeld(const SignalsHeld&) = delete;
  SignalsHeld& operator=(const SignalsHeld&) = delete;
  ~SignalsHeld() { ::sigprocmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_{};
};

}  // namespace

int run_snapshot(const Invocation& invocation, const std::filesystem::path& store) {
  const auto& options = std::get<SnapshotOptions>(invocation.command);
  if (options.freeze && ::geteuid() != 0)
    return complain(Error{Errc::permission, "snapshot --freeze must be run by root", 0});
  auto mount = open_mount(invocation, store, options.ref.substr(0, options.ref.find('@')));
  if (!mount) return complain(mount.error());

  const SignalsHeld held;
  std::optional<StoppedProcesses> stopped;
  if (options.freeze && *mount) {
    struct stat st {};
    if (::fstat(mount->get(), &st) != 0) return complain(fail_errno("the clone's mount").value());
    auto stopping = StoppedProcesses::stop(st.st_dev);
    if (!stopping) return complain(stopping.error());
    stopped.emplace(std::move(*stopping));
  }
  // Stores to mappings that go through the page cache of the mount itself.
  if (*mount && ::syncfs(mount->get()) != 0)
    return complain(fail_errno("writing what programs in the clone changed").value());
  mount->reset();
  const int code = run_remotely(invocation, store);
  if (options.freeze && !stopped && code == 0)
    std::fprintf(stderr, "stellarium: warning: the clone is not mounted where this command can see it\n");
  return code;
}

}  // namespace stellarium::cli
