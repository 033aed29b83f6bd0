#include "tools/cli/daemon_start.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <string>
#include <vector>

#include "tools/cli/programs_folder.h"
#include "tools/cli/store_location.h"
#include "tools/protocol/address.h"
#include "tools/protocol/run_lock.h"

namespace stellarium::cli {
namespace {

constexpr int kStarterDescriptor = 3;  // in the keeper

Result<void> make_folder(const std::filesystem::path& folder) {
  std::error_code failed;
  std::filesystem::create_directories(folder.parent_path(), failed);
  if (failed) return fail_errno("making " + folder.parent_path().string(), failed.value());
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) return fail_errno("making " + folder.string());
  return {};
}

/// Starts the keeper in a session of its own, with nothing of ours but the pipe.
Result<void> spawn_keeper(const std::filesystem::path& store, int starter) {
  const auto programs = programs_folder();
  if (!programs) return fail(programs.error());
  const std::string program = (*programs / "stellarium-keeper").string();
  std::array<std::string, 5> words{program, "--store", store.string(), "--starter", std::to_string(kStarterDescriptor)};
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);

  posix_spawn_file_actions_t files;
  ::posix_spawn_file_actions_init(&files);
  for (const int standard : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    ::posix_spawn_file_actions_addopen(&files, standard, "/dev/null", O_RDWR, 0);
  }
  ::posix_spawn_file_actions_adddup2(&files, starter,
                                     kStarterDescriptor);  // also where they are equal: that clears close-on-exec
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  sigset_t none, all;
  ::sigemptyset(&none);
  ::sigfillset(&all);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setsigdefault(&attributes, &all);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  pid_t pid = 0;
  const int failed = ::posix_spawn(&pid, program.c_str(), &files, &attributes, argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&files);
  ::posix_spawnattr_destroy(&attributes);
  if (failed != 0) return fail_errno("running " + program, failed);
  return {};
}

/// What the keeper says through the pipe: "+" once the server answers, or "-" and why there is none.
Result<void> wait_for_keeper(int pipe, const std::filesystem::path& run) {
  std::string said;
  std::array<char, 4096> buffer{};
  for (;;) {
    const ssize_t got = ::read(pipe, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    said.append(buffer.data(), static_cast<std::size_t>(got));
    if (said.front() == '+') return {};
  }
  if (said.size() > 1) return fail(Errc::unavailable, "the daemon cannot start: " + said.substr(1));
  return fail(Errc::unavailable, "the daemon ended before it could start: see " + (run / "server.log").string());
}

Result<void> start_daemon(const std::filesystem::path& store, const std::filesystem::path& run) {
  struct stat owner {};
  if (::stat(store.c_str(), &owner) == 0 && owner.st_uid != ::geteuid()) {
    return fail(Errc::permission, "the store " + store.string() + " belongs to user " + std::to_string(owner.st_uid) +
                                      ": only that user starts its daemon");
  }
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail_errno("pipe");
  const UniqueFd hear{ends[0]};
  UniqueFd tell{ends[1]};
  if (auto spawned = spawn_keeper(store, tell.get()); !spawned) return spawned;
  tell.reset();
  return wait_for_keeper(hear.get(), run);
}

}  // namespace

Result<UniqueFd> reach_daemon(const std::filesystem::path& store, Start start) {
  const std::filesystem::path run = store / "run";
  auto connected = protocol::connect_in(run);
  if (connected || connected.error().code != Errc::not_found) {
    // ENOTDIR and the like: what is there is no store, and says so better
    if (!connected && connected.error().code == Errc::invalid_argument) {
      if (const auto state = examine_store(store); !state) return fail(state.error());
    }
    return connected;
  }
  if (start == Start::never) return connected;
  const auto state = examine_store(store);
  if (!state) return fail(state.error());
  if (*state == StoreState::absent && start != Start::create_store) {
    return fail(Errc::not_found, "there is no store at " + store.string() + ": 'stellarium import' makes one");
  }
  if (auto made = make_folder(store); !made) return fail(made.error());
  if (auto made = make_folder(run); !made) return fail(made.error());
  const std::filesystem::path file = run / "start.lock";
  const UniqueFd lock{::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
  if (!lock) return fail_errno(file.string());
  if (::flock(lock.get(), LOCK_EX) != 0) return fail_errno("waiting for another command to start the daemon");
  connected = protocol::connect_in(run);  // another command may have started it meanwhile
  if (connected || connected.error().code != Errc::not_found) return connected;
  if (auto started = start_daemon(store, run); !started) return fail(started.error());
  return protocol::connect_in(run);
}

bool wait_until_stopped(const std::filesystem::path& store, double seconds) {
  // The server's lock too: a server may outlive a keeper that was killed.
  const auto running = [run = store / "run"] {
    return protocol::is_locked(run / protocol::kKeeperLock) || protocol::is_locked(run / protocol::kServerLock);
  };
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::duration<double>{seconds};
  while (running()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    const timespec pause{0, 2'000'000};
    ::nanosleep(&pause, nullptr);
  }
  return true;
}

}  // namespace stellarium::cli
