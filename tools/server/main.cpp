// stellarium-server: one process per store that owns the database and answers every mount and every command. Started by
// the keeper.
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <string_view>

#include "base/log.h"
#include "cdn/completion.h"
#include "tools/keeper/process.h"
#include "tools/protocol/build_info.h"
#include "tools/server/background_settling.h"
#include "tools/server/commands.h"
#include "tools/server/outside.h"
#include "tools/server/repair.h"
#include "tools/server/sandbox/places.h"
#include "tools/server/sandbox/sandbox.h"
#include "tools/server/server.h"
#include "tools/server/store_format.h"
#include "tools/server/transports.h"

namespace {

using namespace stellarium;

/// As much as allowed, up to `wanted`.
void raise_limit(__rlimit_resource resource, rlim_t wanted) {
  rlimit limit{};
  if (::getrlimit(resource, &limit) != 0) return;
  if (limit.rlim_max < wanted) {
    const rlimit more{limit.rlim_cur, wanted};
    if (::setrlimit(resource, &more) == 0) limit.rlim_max = wanted;  // needs privilege
  }
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(resource, &limit);
}

/// Descriptors: hot files and sessions take one each. Locked memory: what answers are sent from.
void raise_limits() {
  raise_limit(RLIMIT_NOFILE, 1u << 20);
  raise_limit(RLIMIT_MEMLOCK, RLIM_INFINITY);
}

/// Landlock's rules name folders that exist.
void make_backing_folders(const std::filesystem::path& dir) {
  if (!server::open_format(system_io(), dir)) return;  // it is no store: who opens it says why
  for (const char* const name : server::sandbox::kBackingFolders)
    (void)system_io().make_dir(AT_FDCWD, dir / name, 0700);
}

/// Frames are allocated and freed at the top of the heap. By default that goes back to the kernel each time, to be
/// zeroed again for the next one: 3 % of an import. The janitor gives it back when there is nothing to do.
void keep_freed_memory() {
  ::mallopt(M_TRIM_THRESHOLD, 64 << 20);
  ::mallopt(M_MMAP_THRESHOLD, 4 << 20);
}

UniqueFd watch_signals() {
  sigset_t watched;
  ::sigemptyset(&watched);
  for (const int signal : {SIGTERM, SIGINT}) ::sigaddset(&watched, signal);
  ::sigprocmask(SIG_BLOCK, &watched, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGHUP, SIG_IGN);
  return UniqueFd{::signalfd(-1, &watched, SFD_CLOEXEC)};
}

/// Serves the store until the server is told to end.
Result<keeper::Ending> serve(server::Store& store, const server::Outside& outside,
                             const server::sandbox::Sandbox& sandbox, keeper::KeeperLink& link,
                             keeper::KeeperLink::Inheritance inheritance, int signals) {
  keeper::Ending ending{};
  {
    server::Transports transports{link};
    store.lazy().set_readers([&](const std::string& remote) { return transports.find(remote); });
    cdn::Completion completion{store.lazy(), store.contents(), {}};
    server::Janitor janitor{store};
    server::Mounts mounts{store, link, janitor, outside};
    mounts.resume(std::move(inheritance.records));
    server::Guests guests{mounts};
    janitor.begin();
    const server::BackgroundSettling settling{store, server::BackgroundSettling::quiet_from_environment()};
    const auto run = [&](const cli::Invocation& invocation, server::CommandIo& io, server::ServerControl& control) {
      server::CommandContext context{store,   mounts,  guests,  janitor,           completion,
                                     control, outside, sandbox, invocation.global, io};
      const int code = server::run_any(invocation.command, context);
      janitor.command_ended();
      return code;
    };
    server::Server server{{store.uuid(), outside.numbers().process, std::move(inheritance.listener), signals, run}};
    if (auto told = link.ready(); !told) log::warn("{}", to_string(told.error()));
    log::info("stellarium {} serves {}", protocol::build_id(), store.dir().string());
    store.database().set_on_stopped([&server] {
      log::error("a write of the database failed: this server ends, the next one opens the store anew");
      server.end(keeper::Ending::restart);
    });
    ending = server.serve();
    // Who waits for another host is told that this server ends, before anybody waits for him.
    transports.close();
    store.lazy().stop();
    store.database().set_on_stopped({});
  }
  if (store.database().stopped()) {
    // As after kill -9: what this process still has in memory must not be written any more.
    link.stopping(ending);
    ::_exit(0);
  }
  if (auto closed = store.close(); !closed) return fail(closed.error(), "closing the store");
  return ending;
}

/// Serves only what helps a store whose database cannot be opened. Its mounts are let go: an error ends what would
/// otherwise hang.
Result<keeper::Ending> serve_broken(const std::filesystem::path& dir, const Error& why, const server::Outside& outside,
                                    keeper::KeeperLink& link, keeper::KeeperLink::Inheritance inheritance,
                                    int signals) {
  auto folder = server::open_folder(dir, system_io());
  if (!folder) return fail(folder.error());
  for (const keeper::Record& record : inheritance.records) {
    if (auto removed = link.remove(record.name); !removed) return fail(removed.error());
  }
  inheritance.records.clear();
  const auto run = [&](const cli::Invocation& invocation, server::CommandIo& io, server::ServerControl& control) {
    return server::run_broken(invocation, {dir, folder->uuid, why}, control, io);
  };
  server::Server server{{folder->uuid, outside.numbers().process, std::move(inheritance.listener), signals, run}};
  if (auto told = link.ready(); !told) return fail(told.error());
  log::error("only fsck --repair can be served: {}", to_string(why));
  return server.serve();
}

/// The socket to the first process of our pid namespace, if the keeper gave us one.
std::optional<protocol::Channel> first_process() {
  if (::fcntl(keeper::kOutsideDescriptor, F_SETFD, FD_CLOEXEC) != 0) return std::nullopt;
  return protocol::Channel{UniqueFd{keeper::kOutsideDescriptor}};
}

int run(const std::filesystem::path& dir) {
  const server::Outside outside{first_process()};
  const UniqueFd signals = watch_signals();
  keeper::KeeperLink link{protocol::Channel{UniqueFd{keeper::kLinkDescriptor}}};
  auto inheritance = link.receive_inheritance();
  if (!inheritance) {
    log::error("{}", to_string(inheritance.error()));
    return 1;
  }
  make_backing_folders(dir);
  server::sandbox::Sandbox sandbox{protocol::SandboxLayers::from_environment()};
  sandbox.enter(dir, outside.is_asked());
  Result<keeper::Ending> ending = keeper::Ending::stop;
  {
    auto store = server::Store::open(dir, system_io(), {}, &outside);
    sandbox.close();
    if (store) {
      ending = serve(**store, outside, sandbox, link, std::move(*inheritance), signals.get());
    } else if (server::is_repairable(store.error())) {
      ending = serve_broken(dir, store.error(), outside, link, std::move(*inheritance), signals.get());
    } else {
      ending = fail(store.error());
    }
  }
  if (!ending) {
    log::error("{}", to_string(ending.error()));
    link.failed(to_string(ending.error()));
    return 1;
  }
  link.stopping(*ending);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3 || std::string_view{argv[1]} != "--store" || ::fcntl(keeper::kLinkDescriptor, F_GETFD) < 0) {
    std::fputs("stellarium-server: started by stellarium-keeper; run 'stellarium daemon start' instead\n", stderr);
    return 2;
  }
  ::fcntl(keeper::kLinkDescriptor, F_SETFD, FD_CLOEXEC);
  if (::chdir("/") != 0) return 1;
  ::umask(077);
  raise_limits();
  keep_freed_memory();
  // stderr is STORE/run/server.log
  log::start("server");
  try {
    return run(argv[2]);
  } catch (const std::exception& thrown) {
    log::critical("ended by an exception: {}", thrown.what());
    return 1;
  }
}
