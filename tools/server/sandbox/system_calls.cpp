#include "tools/server/sandbox/system_calls.h"

#include <array>

#include "tools/protocol/sanitized_build.h"

namespace stellarium::server::sandbox {
namespace {

// clang-format off
constexpr auto kAllowed = std::to_array<const char*>({
    // bytes of open files
    "read", "write", "pread64", "pwrite64", "readv", "writev", "preadv", "pwritev", "preadv2", "pwritev2", "lseek",
    "copy_file_range", "fallocate", "ftruncate", "fsync", "fdatasync", "sync_file_range", "syncfs", "fadvise64",
    "readahead", "flock",
    // names: which ones is Landlock's business
    "open", "openat", "close", "close_range", "access", "faccessat", "faccessat2", "mkdir", "mkdirat", "rmdir", "unlink",
    "unlinkat", "rename", "renameat", "renameat2", "link", "linkat", "readlink", "readlinkat",
    "truncate", "getdents64", "getcwd", "chdir", "fchdir", "umask",
    // what files are
    "stat", "fstat", "lstat", "newfstatat", "statx", "statfs", "fstatfs", "fchmod", "chmod", "fchmodat", "utimensat",
    "fgetxattr", "fsetxattr", "flistxattr", "fremovexattr", "getxattr", "lgetxattr", "listxattr", "llistxattr",
    // descriptors, and waiting for them
    "dup", "dup2", "dup3", "fcntl", "pipe2", "eventfd2", "signalfd4", "memfd_create", "epoll_create1", "epoll_ctl", "epoll_wait",
    "epoll_pwait", "epoll_pwait2", "poll", "ppoll", "select", "pselect6",
    // sockets that exist; none is made
    "accept", "accept4", "recvmsg", "sendmsg", "recvfrom", "sendto", "shutdown", "getsockopt", "setsockopt", "getsockname",
    "getpeername",
    // memory
    "brk", "munmap", "mremap", "madvise", "mlock", "mlock2", "munlock", "msync", "mincore",
    // threads
    "futex", "set_robust_list", "rseq", "exit", "exit_group", "gettid", "getpid", "getppid", "sched_yield",
    "sched_getaffinity", "sched_getparam", "sched_getscheduler", "sched_setscheduler", "sched_get_priority_max",
    "sched_get_priority_min", "setpriority", "getpriority", "ioprio_set", "ioprio_get", "getcpu", "membarrier",
    // who it is; setfsuid and capset: to be nobody for a moment (fs/as_nobody.h)
    "getuid", "geteuid", "getgid", "getegid", "getgroups", "setfsuid", "capget", "capset",
    // signals
    "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "rt_sigtimedwait", "restart_syscall",
    // time, chance, and what the system is
    "clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time", "times", "getrandom", "uname",
    "sysinfo", "getrusage", "getrlimit",
});

// What the run-time libraries of sanitizers do besides: to look for leaks they stop all threads, and look at them.
constexpr auto kAllowedSanitized = std::to_array<const char*>({
    "ptrace", "wait4", "clone", "kill", "tgkill", "prctl", "pipe", "mmap", "mprotect", "arch_prctl", "prlimit64",
    "setrlimit", "personality", "process_vm_readv", "getpgrp", "getdents", "tkill",
});

constexpr auto kDeadly = std::to_array<const char*>({
    // other programs, other processes
    "execve", "execveat", "fork", "vfork", "process_vm_writev", "process_madvise", "pidfd_open",
    "pidfd_getfd", "pidfd_send_signal", "kcmp", "rt_sigqueueinfo", "rt_tgsigqueueinfo",
    // other mounts, roots, namespaces
    "mount", "umount2", "pivot_root", "chroot", "move_mount", "open_tree", "fsopen", "fsconfig", "fsmount", "fspick",
    "mount_setattr", "setns", "unshare",
    // files past their names
    "open_by_handle_at", "name_to_handle_at", "mknod", "mknodat",
    // the kernel itself
    "bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register", "init_module",
    "finit_module", "delete_module", "kexec_load", "kexec_file_load", "keyctl", "add_key", "request_key", "iopl", "ioperm",
    "modify_ldt", "reboot", "swapon", "swapoff", "acct", "settimeofday", "clock_settime", "adjtimex", "clock_adjtime",
    "sethostname", "setdomainname",
    // another user
    "setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setgroups", "setfsgid",
});
constexpr auto kDeadlyPlain = std::to_array<const char*>({"ptrace", "process_vm_readv", "personality"});
// clang-format on

template <std::size_t first, std::size_t second>
constexpr auto joined(const std::array<const char*, first>& a, const std::array<const char*, second>& b) {
  std::array<const char*, first + second> all{};
  for (std::size_t i = 0; i < first; ++i) all[i] = a[i];
  for (std::size_t i = 0; i < second; ++i) all[first + i] = b[i];
  return all;
}
constexpr auto kAllAllowed = joined(kAllowed, kAllowedSanitized);
constexpr auto kAllDeadly = joined(kDeadly, kDeadlyPlain);

}  // namespace

std::span<const char* const> allowed_calls() {
  if (protocol::kSanitizedBuild) return kAllAllowed;
  return kAllowed;
}

std::span<const char* const> deadly_calls() {
  if (protocol::kSanitizedBuild) return kDeadly;
  return kAllDeadly;
}

}  // namespace stellarium::server::sandbox
