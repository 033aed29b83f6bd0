#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <optional>

#include "tools/cli/boot_files.h"
#include "tools/cli/clone_for_run.h"
#include "tools/cli/commands.h"
#include "tools/cli/listening_socket.h"
#include "tools/cli/machine_process.h"
#include "tools/cli/machine_words.h"
#include "tools/cli/private_folder.h"
#include "tools/cli/terminal_state.h"
#include "tools/cli/undo_process.h"
#include "tools/cli/virtiofsd_words.h"
#include "tools/text/escape.h"
#include "tools/text/shell_words.h"

// `stellarium vm`: clone, virtio-fs device, QEMU, and everything undone again (docs/virtual-machines.md).
namespace stellarium::cli {
namespace {

constexpr int kTries = 100;  // to remove the clone of a machine that was killed a moment ago
constexpr useconds_t kBetweenTries = 50'000;

/// One run, as far as it is known before anything is made.
struct MachineRun {
  const Invocation& invocation;
  const std::filesystem::path& store;
  const VmOptions& options;
  bool is_new = false;      ///< the clone is made for this run
  BootFiles in_image = {};  ///< what is taken out of the image; empty: the user named a file, or there is none
  MachineParts parts = {};
};

/// Both ends of the device's socket, whose name is gone already: so nothing is left of it, whoever is killed.
struct DeviceSocket {
  UniqueFd listening, connected;
};

Result<DeviceSocket> make_device_socket() {
  const auto folder = PrivateFolder::make("vm");
  if (!folder) return fail(folder.error());
  const std::string path = folder->path() + "/socket";
  auto listening = listen_on(path);
  if (!listening) return fail(listening.error());
  auto connected = connect_to(path);
  ::unlink(path.c_str());
  if (!connected) return fail(connected.error());
  return DeviceSocket{std::move(*listening), std::move(*connected)};
}

Result<void> check_program(const std::string& program) {
  const char* const path = std::getenv("PATH");
  const std::string folders = program.find('/') != std::string::npos || path == nullptr ? "" : path;
  for (std::size_t at = 0; at <= folders.size();) {
    const std::size_t end = std::min(folders.find(':', at), folders.size());
    const std::string folder = folders.substr(at, end - at);
    if (::access((folder.empty() ? program : folder + "/" + program).c_str(), X_OK) == 0) return {};
    at = end + 1;
  }
  return fail(Errc::not_found, program + " is not there: 'apt install qemu-system-x86', or name QEMU with --qemu");
}

Result<void> check_file(const std::string& option, const std::string& file) {
  if (file.empty()) return {};
  struct stat status {};
  const UniqueFd opened{::open(file.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC)};
  if (!opened || ::fstat(opened.get(), &status) != 0) return fail_errno(option + " " + file);
  if (!S_ISREG(status.st_mode)) return fail(Errc::invalid_argument, option + " " + file + " is not a file");
  return {};
}

std::string cpu_info() {
  std::ifstream in{"/proc/cpuinfo"};
  return {std::istreambuf_iterator<char>{in}, {}};
}

/// Looks at everything, and makes nothing. An error without words was told already.
Result<MachineRun> prepare(const Invocation& invocation, const std::filesystem::path& store) {
  MachineRun run{.invocation = invocation, .store = store, .options = std::get<VmOptions>(invocation.command)};
  const VmOptions& options = run.options;
  const auto memory = machine_memory(options.memory);
  if (!memory) return fail(memory.error());
  if (auto found = check_program(options.qemu); !found) return fail(found.error());
  if (auto readable = check_file("--kernel", options.kernel); !readable) return fail(readable.error());
  if (auto readable = check_file("--initrd", options.initrd); !readable) return fail(readable.error());
  const auto existing = is_clone(invocation, store, options.ref);
  if (!existing) return fail(existing.error());
  run.is_new = !*existing;
  auto name = run.is_new ? fresh_name(options.ref) : options.ref;
  if (!name) return fail(name.error());
  if (options.kernel.empty()) {
    auto found = kernel_of_image(invocation, store, options.ref);
    if (!found) return fail(found.error());
    run.in_image = std::move(*found);
  }
  if (!options.initrd.empty()) run.in_image.initrd.clear();
  run.parts = {.name = std::move(*name),
               .socket = {},
               .kernel = options.kernel,
               .initrd = options.initrd,
               .memory = *memory,
               .accelerators = options.accel.empty() ? usual_accelerators(cpu_info()) : options.accel};
  return run;
}

std::string file_name(const std::string& path) {
  return std::filesystem::path{path}.filename();
}

/// A command of ours, for a shell, on the same store.
std::string own_line(const MachineRun& run, const std::vector<std::string>& words) {
  std::vector<std::string> line{"stellarium"};
  if (!run.invocation.global.store.empty()) line.insert(line.end(), {"--store", run.invocation.global.store});
  line.insert(line.end(), words.begin(), words.end());
  return text::shell_line(line);
}

/// What to do before QEMU's command line works is told beside it.
int show(MachineRun run) {
  const auto folder = folder_for_runs();
  if (!folder) return complain(folder.error());
  const std::string socket = *folder + "/" + run.parts.name + ".socket";
  run.parts.socket = "path=" + listed(socket);
  std::string before;
  if (run.is_new) before += own_line(run, {"clone", run.options.ref, run.parts.name}) + "; ";
  for (const auto& [from, to] :
       {std::pair{&run.in_image.kernel, &run.parts.kernel}, std::pair{&run.in_image.initrd, &run.parts.initrd}}) {
    if (from->empty()) continue;
    *to = file_name(*from);
    before += own_line(run, {"cat", run.options.ref, *from}) + " >" + text::shell_line({*to}) + "; ";
  }
  print_note("before: " + before + own_line(run, {"virtiofsd", run.parts.name, "--socket-path", socket}) + " &");
  std::printf("%s\n", text::shell_line(machine_words(run.options, run.parts)).c_str());
  return 0;
}

/// As long as QEMU may open them the files that were taken out must be open here.
std::optional<std::vector<UniqueFd>> take_boot_files(MachineRun& run) {
  std::vector<UniqueFd> files;
  for (const auto& [from, to] :
       {std::pair{&run.in_image.kernel, &run.parts.kernel}, std::pair{&run.in_image.initrd, &run.parts.initrd}}) {
    if (from->empty()) continue;
    auto file = take_out(run.invocation, run.store, run.options.ref, *from);
    if (!file) return std::nullopt;
    *to = "/proc/self/fd/" + std::to_string(file->get());
    files.push_back(std::move(*file));
  }
  return files;
}

/// Of a machine that was killed a moment ago the device may still be there.
int remove_clone(const MachineRun& run) {
  Handlers undoing, quietly;
  undoing.uninterruptible = quietly.uninterruptible = true;
  quietly.hide_complaints = [] { return true; };
  const std::vector<std::string> words{"rm", "--", run.parts.name};
  for (int tried = 0; tried < kTries; ++tried, ::usleep(kBetweenTries)) {
    const auto exists = is_clone(run.invocation, run.store, run.parts.name, undoing);
    if (!exists) return complain(exists.error());
    if (!*exists || run_words(run.invocation, run.store, words, quietly) == 0) return 0;
  }
  return run_words(run.invocation, run.store, words, undoing);
}

int run_on_device(MachineRun& run, const std::vector<UniqueFd>& files, const Interrupts& interrupts) {
  auto socket = make_device_socket();
  if (!socket) return complain(socket.error());
  run.parts.socket = "fd=" + std::to_string(socket->connected.get());
  const VirtiofsdOptions device{.ref = run.parts.name,
                                .socket_path = "the machine of process " + std::to_string(::getpid()),
                                .dax_window = "0"};  // QEMU's virtio-fs has none
  auto connection = Connection::open(run.store, Start::if_store);
  if (!connection) return complain(connection.error());
  Invocation serving = run.invocation;
  serving.name = "virtiofsd";
  const int sent[] = {socket->listening.get()};
  if (auto asked = connection->request(words_for(serving, virtiofsd_words(device)), false, sent); !asked)
    return complain(asked.error());
  socket->listening.reset();

  std::optional<MachineEnd> end;
  Handlers handlers;
  handlers.proceed = [&](bool) -> Result<void> {
    std::vector<int> descriptors{socket->connected.get()};
    for (const UniqueFd& file : files) descriptors.push_back(file.get());
    const auto ran =
        run_machine(machine_words(run.options, run.parts), descriptors, interrupts, connection->channel().fd());
    if (!ran) return fail(ran.error());
    end = *ran;
    connection->cancel();  // QEMU may have ended before it used its device
    return {};
  };
  const int code = follow(*connection, run.invocation.global, handlers);
  if (!end) return code != 0 ? code : 1;
  if (end->signal != 0) return kInterrupted + end->signal;
  if (code == 0 && end->lost_root)
    return complain(Error{Errc::unavailable, "the machine was ended: the daemon does not serve its root any more", 0});
  return code != 0 ? code : end->code;
}

int run_machine_once(MachineRun& run, const Interrupts& interrupts) {
  const auto files = take_boot_files(run);
  if (!files) return 1;
  const bool is_temporary = run.is_new && !run.options.keep;
  auto undoing = UndoProcess::begin([&run, is_temporary, terminal = TerminalState{}] {
    const int code = is_temporary ? remove_clone(run) : 0;
    terminal.restore();
    return code;
  });
  if (!undoing) return complain(undoing.error());
  if (run.is_new) {
    const int code = run_words(run.invocation, run.store, {"clone", "--", run.options.ref, run.parts.name});
    if (code != 0) return code;
  }
  const int code = run_on_device(run, *files, interrupts);
  if (run.is_new && run.options.keep) std::fprintf(stderr, "kept as clone %s\n", text::escape(run.parts.name).c_str());
  const int undone = undoing->finish();
  return code != 0 ? code : undone;
}

}  // namespace

int run_vm(const Invocation& invocation, const std::filesystem::path& store) {
  auto run = prepare(invocation, store);
  if (!run) return run.error().context.empty() ? 1 : complain(run.error());
  if (run->options.dry_run) return show(std::move(*run));
  const Interrupts interrupts;  // from now on there is something to undo
  return run_machine_once(*run, interrupts);
}

}  // namespace stellarium::cli
