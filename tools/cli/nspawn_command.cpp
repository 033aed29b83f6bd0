#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "fs/fuse/mount.h"
#include "tools/cli/clone_for_run.h"
#include "tools/cli/command_line.h"
#include "tools/cli/commands.h"
#include "tools/cli/connection.h"
#include "tools/cli/container_process.h"
#include "tools/cli/container_words.h"
#include "tools/cli/private_folder.h"
#include "tools/text/escape.h"

// `stellarium nspawn`: clone, mount, systemd-nspawn, and everything undone again (docs/containers.md).
namespace stellarium::cli {
namespace {

constexpr int kRebooted = 133;  // systemd-nspawn's, where somebody else has to start it again

/// From here on only this process and the container see what it mounts. So the mount ends with them, however they end,
/// and no service that starts meanwhile keeps a copy of it.
Result<void> leave_mounts_of_host() {
  if (::unshare(CLONE_NEWNS) != 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) != 0)
    return fail_errno("mounts of its own for the container");
  return {};
}

int run_mounted(const NspawnOptions& options, const std::string& clone, const std::string& folder,
                const Interrupts& interrupts) {
  const ContainerHost host = this_host();
  const auto words =
      container_words(options, folder, options.machine.empty() ? machine_name_of(clone) : options.machine, host);
  for (;;) {
    const auto ran = run_container(words, options.boot, interrupts);
    if (!ran) return complain(ran.error());
    if (*ran != kRebooted || options.keep_unit || host.has_machined) return *ran;
  }
}

int run_in_clone(const Invocation& invocation, const std::filesystem::path& store, const std::string& clone,
                 const Interrupts& interrupts) {
  if (auto left = leave_mounts_of_host(); !left) return complain(left.error());
  const auto folder = PrivateFolder::make("nspawn");
  if (!folder) return complain(folder.error());
  Invocation mount = invocation;
  mount.name = "mount";
  mount.command = MountOptions{.words = {clone, folder->path()}, .options = {}};
  int code = run_mount(mount, store);
  if (code == 0) {
    code = run_mounted(std::get<NspawnOptions>(invocation.command), clone, folder->path(), interrupts);
    if (auto undone = fs::fuse::unmount(folder->path(), false); !undone) {
      complain(undone.error());
      (void)fs::fuse::unmount(folder->path(), true);
    }
  }
  return code;
}

int run_in_new_clone(const Invocation& invocation, const std::filesystem::path& store, const Interrupts& interrupts) {
  const auto& options = std::get<NspawnOptions>(invocation.command);
  const auto name = fresh_name(options.ref);
  if (!name) return complain(name.error());
  Handlers undoing;
  undoing.uninterruptible = true;
  if (const int code = run_words(invocation, store, {"clone", "--", options.ref, *name}); code != 0) {
    undoing.hide_complaints = [] { return true; };  // whether it was made before it was interrupted, nobody said
    if (code > kInterrupted) run_words(invocation, store, {"rm", "--", *name}, undoing);
    return code;
  }
  const int code = run_in_clone(invocation, store, *name, interrupts);
  if (options.keep) {
    std::fprintf(stderr, "kept as clone %s\n", text::escape(*name).c_str());
  } else {
    run_words(invocation, store, {"rm", "--", *name}, undoing);
  }
  return code;
}

}  // namespace

int run_nspawn(const Invocation& invocation, const std::filesystem::path& store) {
  const auto& options = std::get<NspawnOptions>(invocation.command);
  if (auto possible = check_container(options, this_host()); !possible) return complain(possible.error());
  if (::geteuid() != 0) return complain(Error{Errc::permission, "containers are started by root only", EPERM});
  const Interrupts interrupts;  // from now on there may be something to undo
  const auto existing = is_clone(invocation, store, options.ref);
  if (!existing) return complain(existing.error());
  return *existing ? run_in_clone(invocation, store, options.ref, interrupts)
                   : run_in_new_clone(invocation, store, interrupts);
}

}  // namespace stellarium::cli
