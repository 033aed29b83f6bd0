#include <cstdio>
#include <nlohmann/json.hpp>

#include "fs/fuse/mount.h"
#include "tools/cli/commands.h"
#include "tools/cli/connection.h"
#include "tools/text/escape.h"

// `stellarium daemon`: everything about the daemon that the daemon cannot do about itself.
namespace stellarium::cli {
namespace {

constexpr double kStopSeconds = 60;

int ask(const Connection& connection, const Invocation& invocation, std::vector<std::string> arguments,
        std::string* captured = nullptr) {
  if (auto sent = connection.request(words_for(invocation, std::move(arguments)), false); !sent)
    return complain(sent.error());
  Handlers handlers;
  handlers.capture_output = captured;
  return follow(connection, invocation.global, handlers);
}

int start(const Invocation& invocation, const std::filesystem::path& store) {
  auto connection = Connection::open(store, Start::create_store);
  if (!connection) return complain(connection.error());
  return ask(*connection, invocation, {"status"});
}

int not_running(const Invocation& invocation, const std::filesystem::path& store) {
  if (invocation.global.json) {
    const nlohmann::ordered_json out{{"schema", 1}, {"running", false}, {"store", store.string()}};
    std::printf("%s\n", out.dump(2, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
  } else if (!invocation.global.quiet) {
    std::printf("not running: %s\n", text::escape(store.string()).c_str());
  }
  return 0;
}

/// Takes every mount of the store that this process can see out of sight. The server waits for them to be gone.
int unmount_all(const Invocation& invocation, const std::filesystem::path& store) {
  auto connection = Connection::open(store, Start::never, true);
  if (!connection) return complain(connection.error());
  Invocation listing = invocation;
  listing.global.json = true;
  std::string answer;
  if (const int code = ask(*connection, listing, {"mounts"}, &answer); code != 0) return code;
  const auto mounts = nlohmann::json::parse(answer, nullptr, false);
  if (!mounts.is_object() || !mounts.contains("mounts"))
    return complain(Error{Errc::invalid_argument, "the server sent a malformed list of mounts", 0});
  for (const auto& mount : mounts["mounts"]) {
    const std::string where = mount.value("mountpoint", "");
    std::error_code ignored;
    const bool of_machine = !where.starts_with('/') || std::filesystem::is_socket(where, ignored);
    if (of_machine) continue;  // a virtual machine's device ends with the server
    if (auto done = fs::fuse::unmount(where, true); !done) complain(done.error());
  }
  return 0;
}

int stop(const Invocation& invocation, const std::filesystem::path& store) {
  const auto& options = std::get<DaemonOptions>(invocation.command);
  {
    auto connection = Connection::open(store, Start::never, true);
    if (!connection && connection.error().code == Errc::not_found) return not_running(invocation, store);
    if (!connection) return complain(connection.error());
    if (options.unmount) {
      if (const int code = unmount_all(invocation, store); code != 0) return code;
    }
    std::vector<std::string> arguments{"stop"};
    if (options.force) arguments.emplace_back("--force");
    if (options.unmount) arguments.emplace_back("--unmount");
    if (const int code = ask(*connection, invocation, arguments); code != 0) return code;
  }
  if (!wait_until_stopped(store, kStopSeconds)) {
    return complain(Error{
        Errc::busy, "the daemon is closing the store but has not ended: see run/server.log in " + store.string(), 0});
  }
  return 0;
}

/// Asks for a new server (or also keeper) and returns when it answers. The old one may take a last connection before it
/// ends.
int replace(const Invocation& invocation, const std::filesystem::path& store, const char* action) {
  std::uint32_t old_server = 0;
  {
    auto before = Connection::open(store, Start::if_store, true);
    if (!before) return complain(before.error());
    old_server = before->server().server_pid;
    if (const int code = ask(*before, invocation, {action}); code != 0) return code;
  }
  for (;;) {
    auto after = Connection::open(store, Start::if_store, true);
    if (!after) return complain(after.error());
    if (after->server().server_pid != old_server) return ask(*after, invocation, {"status"});
  }
}

}  // namespace

int run_daemon(const Invocation& invocation, const std::filesystem::path& store) {
  using Action = DaemonOptions::Action;
  switch (std::get<DaemonOptions>(invocation.command).action) {
    case Action::start:
      return start(invocation, store);
    case Action::stop:
      return stop(invocation, store);
    case Action::restart:
      return replace(invocation, store, "restart");
    case Action::upgrade:
      return replace(invocation, store, "upgrade");
    case Action::status:
    case Action::mounts:
      break;
  }
  auto connection = Connection::open(store, Start::never, true);
  if (!connection && connection.error().code == Errc::not_found) return not_running(invocation, store);
  if (!connection) return complain(connection.error());
  const bool mounts = std::get<DaemonOptions>(invocation.command).action == Action::mounts;
  return ask(*connection, invocation, {mounts ? "mounts" : "status"});
}

}  // namespace stellarium::cli
