#include <CLI/CLI.hpp>

#include "tools/cli/definitions.h"
#include "tools/cli/foreign_options.h"

// The commands for virtual machines.
namespace stellarium::cli {
namespace {

constexpr const char* kGroup = "Virtual machines";

void define_vm(CLI::App& v, VmOptions& vm) {
  v.add_option("REF", vm.ref,
               "image or snapshot, of which a clone is made for this run; or a clone, which keeps what is written")
      ->required();
  v.add_option("QEMU-OPTION", vm.qemu_words, "more options of QEMU, behind '--'")->expected(1, 1000);
  v.add_flag("--keep", vm.keep, "keep the clone that was made for this run, and say its name");
  v.add_option("--kernel", vm.kernel, "kernel to boot; the newest /boot/vmlinuz-VERSION in REF if left out")
      ->type_name("FILE");
  v.add_option("--initrd", vm.initrd,
               "initial file system; of a kernel in REF /boot/initrd.img-VERSION if left out, if there is one")
      ->type_name("FILE");
  v.add_option("--append", vm.append, "more words for the kernel's command line, such as init=/bin/sh")
      ->type_name("WORDS");
  v.add_option("--memory", vm.memory, "the guest's memory, with M or G behind it")
      ->capture_default_str()
      ->type_name("SIZE");
  v.add_option("--cpus", vm.cpus, "how many processors the guest has")
      ->capture_default_str()
      ->check(CLI::Range(1, 255).description(""))
      ->type_name("N");
  v.add_option("--net", vm.net,
               "network: user (the guest reaches what the host reaches), none, or what QEMU's -netdev takes, such as "
               "user,hostfwd=tcp::2222-:22")
      ->capture_default_str()
      ->type_name("NETWORK");
  v.add_option("--accel", vm.accel,
               "kvm, tcg, or several with ':' between them, which are tried in turn; if left out kvm:tcg where the "
               "processor has virtualization, else tcg")
      ->type_name("NAMES");
  v.add_option("--qemu", vm.qemu, "QEMU's program")->capture_default_str()->type_name("PROGRAM");
  v.add_flag("--dry-run", vm.dry_run, "print QEMU's command line for a shell, and make nothing");
  v.footer(
      "The guest's serial console is the terminal; Ctrl-A X ends the machine, Ctrl-A C is QEMU's monitor. Exit code: 0 "
      "when the guest has powered off, else QEMU's; 128 + the signal after SIGTERM, SIGINT or SIGHUP, which end the "
      "machine at once. Then the clone that was made for this run is gone, also if the command itself was killed. The "
      "kernel must have virtio-fs built in, or in its initial file system.");
}

/// They are in no help: there are many, and they do nothing.
void define_foreign(CLI::App& v, std::vector<std::string>& given) {
  for (const ForeignOption& option : foreign_options()) {
    const std::string name{option.name};
    CLI::Option* const defined =
        option.has_value
            ? v.add_option_function<std::string>(
                  "--" + name, [&given, name](const std::string& value) { given.push_back(name + "=" + value); })
            : v.add_flag_callback("--" + name, [&given, name] { given.push_back(name); });
    defined->group("");
  }
  v.add_option_function<std::vector<std::string>>("-o",
                                                  [&given](const std::vector<std::string>& lists) {
                                                    for (const std::string& list : lists) given.push_back("o=" + list);
                                                  })
      ->allow_extra_args(false)
      ->group("");
}

void define_virtiofsd(CLI::App& v, VirtiofsdOptions& virtiofsd) {
  v.add_option("REF", virtiofsd.ref, "an image, which is read-only, or a clone, which can be written");
  v.add_option("--socket-path", virtiofsd.socket_path, "where the machine's monitor connects (vhost-user)")
      ->type_name("PATH");
  v.add_option("--fd", virtiofsd.fd, "descriptor of a listening socket that is open already, instead of --socket-path")
      ->check(CLI::NonNegativeNumber.description(""))
      ->type_name("N");
  v.add_option("--socket-group", virtiofsd.socket_group,
               "group whose members may connect, too: a name in /etc/group, or a number")
      ->type_name("GROUP");
  v.add_flag("--readonly", virtiofsd.readonly, "let the guest change nothing");
  v.add_option(
       "--tag", virtiofsd.tag,
       "the name by which the guest mounts it, for monitors that ask for one; QEMU and most others say it themselves")
      ->type_name("TAG");
  v.add_option("--request-queues", virtiofsd.request_queues, "queues for requests")
      ->capture_default_str()
      ->check(CLI::Range(1, 63))
      ->type_name("N");
  v.add_option(
       "--dax-window", virtiofsd.dax_window,
       "how much of the guest's addresses is for pages that it shares with the host, in bytes or with K, M or G "
       "behind it, a multiple of 2 MiB; 0: none. Only images have such pages, and few monitors know windows")
      ->capture_default_str()
      ->type_name("SIZE");
  v.add_option("--shmem-feature-bit", virtiofsd.shmem_feature_bit,
               "the number of vhost-user's feature \"shared memory\": monitors from before mid-2026 have another one")
      ->capture_default_str()
      ->type_name("N");
  v.add_option("--shared-dir", virtiofsd.shared_dir, "the same as REF, for scripts")->type_name("REF");
  v.add_flag("--print-capabilities", virtiofsd.print_capabilities,
             "print what vhost-user calls the capabilities of this program, as JSON, and exit");
  define_foreign(v, virtiofsd.foreign);
  v.footer(
      "Runs until the machine's monitor disconnects, or a signal ends it. The guest's memory must be shared. With "
      "QEMU: "
      "-object memory-backend-memfd,id=m,size=1G,share=on -machine memory-backend=m -chardev socket,id=c,path=PATH "
      "-device vhost-user-fs-pci,chardev=c,tag=TAG,queue-size=1024. Options of other virtiofsds (--cache, --xattr, "
      "--sandbox, -o and so on) are taken, and named by --verbose, if nothing is lost without them; else refused.");
}

}  // namespace

void Definitions::define_machines(CLI::App& app) {
  define_vm(command(app, kGroup, "vm", "Boot a virtual machine from a clone, in one step"), vm);
  define_virtiofsd(
      command(app, kGroup, "virtiofsd", "Serve an image or a clone to a virtual machine, as a virtio-fs device"),
      virtiofsd);
}

}  // namespace stellarium::cli
