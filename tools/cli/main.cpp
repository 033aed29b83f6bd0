// stellarium: the command. Parses the command line, does what concerns the user's own files, leaves the rest to the
// store's server.
#include <signal.h>

#include <cstdio>
#include <variant>

#include "tools/cli/command_line.h"
#include "tools/cli/commands.h"
#include "tools/cli/connection.h"
#include "tools/cli/man_page.h"
#include "tools/cli/mount_helper.h"
#include "tools/cli/store_location.h"
#include "tools/cli/virtiofsd_words.h"

namespace {

using namespace stellarium::cli;

int run(const std::vector<std::string>& words) {
  const auto parsed = CommandLine::parse(words);
  if (const auto* answer = std::get_if<Answer>(&parsed)) {
    std::fputs(answer->text.c_str(), answer->exit_code == 0 ? stdout : stderr);
    return answer->exit_code;
  }
  const auto& invocation = std::get<Invocation>(parsed);
  if (const auto* completion = std::get_if<CompletionOptions>(&invocation.command)) {
    std::fputs(completion_script(CommandLine{}.app(), completion->shell).c_str(), stdout);
    return 0;
  }
  const std::filesystem::path store = store_folder(invocation.global.store);
  if (std::holds_alternative<ImportOptions>(invocation.command)) return run_import(invocation, store);
  if (std::holds_alternative<ExportOptions>(invocation.command)) return run_export(invocation, store);
  if (std::holds_alternative<PublishOptions>(invocation.command)) return run_publish(invocation, store);
  if (std::holds_alternative<PullOptions>(invocation.command)) return run_pull(invocation, store);
  if (std::holds_alternative<RemoteOptions>(invocation.command)) return run_remote(invocation);
  if (std::holds_alternative<MountOptions>(invocation.command)) return run_mount(invocation, store);
  if (std::holds_alternative<VirtiofsdOptions>(invocation.command)) return run_virtiofsd(invocation, store);
  if (std::holds_alternative<SnapshotOptions>(invocation.command)) return run_snapshot(invocation, store);
  if (std::holds_alternative<NspawnOptions>(invocation.command)) return run_nspawn(invocation, store);
  if (std::holds_alternative<VmOptions>(invocation.command)) return run_vm(invocation, store);
  if (std::holds_alternative<VolumeOptions>(invocation.command)) return run_volume(invocation, store);
  if (std::holds_alternative<UmountOptions>(invocation.command)) return run_umount(invocation);
  if (std::holds_alternative<DaemonOptions>(invocation.command)) return run_daemon(invocation, store);
  if (std::holds_alternative<DoctorOptions>(invocation.command)) return run_doctor(invocation, store);
  return run_remotely(invocation, store);
}

int run_for_mount(const std::vector<std::string>& given) {
  const auto words = words_of_mount_helper(given);
  if (!words) {
    std::fprintf(stderr, "mount.stellarium: %s\n", words.error().context.c_str());
    return exit_code_of_mount_helper(2);
  }
  return words->empty() ? 0 : exit_code_of_mount_helper(run(*words));
}

}  // namespace

int main(int argc, char** argv) {
  ::signal(SIGPIPE, SIG_IGN);
  std::vector<std::string> words{argv + 1, argv + argc};
  if (is_virtiofsd(argv[0])) words.insert(words.begin(), "virtiofsd");
  return is_mount_helper(argv[0]) ? run_for_mount(words) : run(words);
}
