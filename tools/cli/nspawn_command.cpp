#include <spawn.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "fs/fuse/mount.h"
#include "tools/cli/command_line.h"
#include "tools/cli/commands.h"
#include "tools/cli/connection.h"
#include "tools/text/escape.h"

extern char** environ;  // NOLINT(readability-redundant-declaration): not every libc declares it

// `stellarium nspawn`: clone, mount, systemd-nspawn, and everything undone again.
namespace stellarium::cli {
namespace {

/// Runs one of our own commands in this process; the exit code.
int run_words(const Invocation& invocation, const std::filesystem::path& store, const std::vector<std::string>& words,
              std::string* output = nullptr) {
  auto connection = Connection::open(store, Start::if_store);
  if (!connection) return complain(connection.error());
  if (auto sent = connection->request(words, false); !sent) return complain(sent.error());
  Handlers handlers;
  handlers.capture_output = output;
  return follow(*connection, invocation.global, handlers);
}

Result<std::string> fresh_name(const std::string& ref) {
  std::uint32_t number = 0;
  if (::getrandom(&number, sizeof number, 0) != sizeof number) return fail_errno("getrandom");
  std::string name = ref.substr(0, ref.find_first_of(":@")).substr(0, 100) + "-";
  for (int digit = 0; digit < 8; ++digit, number >>= 4) name += "0123456789abcdef"[number & 15];
  return name;
}

Result<bool> is_clone(const Invocation& invocation, const std::filesystem::path& store, const std::string& ref) {
  std::string names;
  if (const int code = run_words(invocation, store, {"--quiet", "clones"}, &names); code != 0)
    return fail(Errc::unavailable, "the clones cannot be listed");
  return ("\n" + names).find("\n" + ref + "\n") != std::string::npos && ref.find('@') == std::string::npos;
}

/// Runs a program with our standard streams; its exit code, or 128 + the signal that ended it.
Result<int> run_program(const std::vector<std::string>& words) {
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  pid_t child = 0;
  if (const int failed = ::posix_spawnp(&child, arguments[0], nullptr, nullptr, arguments.data(), environ); failed != 0)
    return fail_errno("starting " + words.front(), failed);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return fail_errno("waiting for " + words.front());
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

std::vector<std::string> nspawn_words(const NspawnOptions& options, const std::string& root,
                                      const std::string& machine) {
  std::vector<std::string> words{"systemd-nspawn", "--quiet", "--directory=" + root, "--machine=" + machine};
  // Without systemd as the host's init there is nobody to register with.
  struct stat ignored {};
  if (::stat("/run/systemd/system", &ignored) != 0) {
    words.emplace_back("--register=no");
    words.emplace_back("--keep-unit");
  }
  if (options.boot) words.emplace_back("--boot");
  if (!options.command.empty()) words.emplace_back("--");
  words.insert(words.end(), options.command.begin(), options.command.end());
  return words;
}

int run_in_clone(const Invocation& invocation, const std::filesystem::path& store, const std::string& clone) {
  const auto& options = std::get<NspawnOptions>(invocation.command);
  char folder[] = "/tmp/stellarium-nspawn.XXXXXX";
  if (::mkdtemp(folder) == nullptr) return complain(fail_errno(folder).value());
  Invocation mount = invocation;
  mount.name = "mount";
  mount.command = MountOptions{.words = {clone, folder}, .options = {}};
  int code = run_mount(mount, store);
  if (code == 0) {
    const auto ran = run_program(nspawn_words(options, folder, options.machine.empty() ? clone : options.machine));
    code = ran ? *ran : complain(ran.error());
    if (auto undone = fs::fuse::unmount(folder, false); !undone) {
      complain(undone.error());
      (void)fs::fuse::unmount(folder, true);
    }
  }
  ::rmdir(folder);
  return code;
}

}  // namespace

int run_nspawn(const Invocation& invocation, const std::filesystem::path& store) {
  const auto& options = std::get<NspawnOptions>(invocation.command);
  const auto existing = is_clone(invocation, store, options.ref);
  if (!existing) return complain(existing.error());
  if (*existing) return run_in_clone(invocation, store, options.ref);

  const auto name = fresh_name(options.ref);
  if (!name) return complain(name.error());
  if (const int code = run_words(invocation, store, {"clone", "--", options.ref, *name}); code != 0) return code;
  const int code = run_in_clone(invocation, store, *name);
  if (options.keep) {
    std::fprintf(stderr, "kept as clone %s\n", text::escape(*name).c_str());
  } else {
    run_words(invocation, store, {"rm", "--", *name});
  }
  return code;
}

}  // namespace stellarium::cli
