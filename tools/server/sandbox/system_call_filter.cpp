#include "tools/server/sandbox/system_call_filter.h"

#include <linux/dqblk_xfs.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/fsverity.h>
#include <linux/quota.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <span>
#include <type_traits>

#include "fs/fuse/abi.h"
#include "tools/protocol/sanitized_build.h"
#include "tools/server/sandbox/refused_calls.h"
#include "tools/server/sandbox/system_calls.h"

namespace stellarium::server::sandbox {
namespace {

constexpr std::uint64_t kInt = 0xffffffff;  // the kernel looks at these bits of an int
constexpr unsigned kProjectQuota = 2;

constexpr std::uint64_t quota_command(unsigned what) {
  return what << SUBCMDSHIFT | kProjectQuota;
}

constexpr auto kIoctls = std::to_array<std::uint64_t>({
    fs::fuse::abi::kIocBackingOpen, fs::fuse::abi::kIocBackingClose,  // passed-through files
    FS_IOC_FIEMAP, FICLONE,                                           // staged files
    FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR,                             // their projects
    FS_IOC_ENABLE_VERITY,                                             // hot files
    FS_IOC_GETVERSION,                                                // RocksDB: is it the same file?
    TCGETS,                                                           // the C library: is it a terminal?
});
constexpr auto kQuotaCommands =
    std::to_array<std::uint64_t>({quota_command(Q_XGETQSTATV), quota_command(Q_GETQUOTA), quota_command(Q_SETQUOTA)});
constexpr auto kProcessControls = std::to_array<std::uint64_t>(
    {PR_SET_NAME, PR_GET_NAME, PR_CAPBSET_READ, PR_CAP_AMBIENT, 0x53564d41 /* PR_SET_VMA: names of memory */});

/// Collects rules; the first that fails is what `Rules` says.
class Rules {
 public:
  explicit Rules(scmp_filter_ctx context) : context_{context} {}

  /// What neither this library nor this processor knows needs no rule.
  void add(std::uint32_t action, const char* call, std::span<const scmp_arg_cmp> conditions = {}) {
    const int number = ::seccomp_syscall_resolve_name(call);
    if (number == __NR_SCMP_ERROR || failed_ != 0) return;
    failed_ =
        ::seccomp_rule_add_array(context_, action, number, static_cast<unsigned>(conditions.size()), conditions.data());
    if (failed_ != 0) where_ = call;
  }
  void allow(const char* call, const scmp_arg_cmp& condition) { add(SCMP_ACT_ALLOW, call, {&condition, 1}); }
  /// If argument `index`, an int, is one of `values`.
  void allow_if(const char* call, unsigned index, std::span<const std::uint64_t> values) {
    for (const std::uint64_t value : values) allow(call, {index, SCMP_CMP_MASKED_EQ, kInt, value});
  }

  Result<void> outcome() const {
    if (failed_ == 0) return {};
    return fail_errno(std::string{"a rule for "} + where_, -failed_);
  }

 private:
  const scmp_filter_ctx context_;
  int failed_ = 0;
  const char* where_ = "";
};

void add_closer_looks(Rules& rules) {
  rules.allow_if("ioctl", 1, kIoctls);
  rules.allow_if("quotactl_fd", 1, kQuotaCommands);
  // The C library tries this one first, and it cannot be looked into.
  rules.add(SCMP_ACT_ERRNO(ENOSYS), "clone3");
  if (protocol::kSanitizedBuild) return;  // there, what follows is allowed as it is
  rules.allow_if("prctl", 0, kProcessControls);
  // Limits can be asked for.
  rules.allow("prlimit64", {2, SCMP_CMP_EQ, 0, 0});
  // No memory becomes code.
  for (const char* const call : {"mmap", "mprotect"}) rules.allow(call, {2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0});
  // Threads, and nothing else.
  constexpr std::uint64_t kThread = CLONE_VM | CLONE_SIGHAND | CLONE_THREAD;
  constexpr std::uint64_t kNew =
      CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;
  rules.allow("clone", {0, SCMP_CMP_MASKED_EQ, kThread | kNew, kThread});
  // Signals to itself: abort(3).
  rules.allow("tgkill", {0, SCMP_CMP_EQ, static_cast<scmp_datum_t>(::getpid()), 0});
}

}  // namespace

Result<void> filter_system_calls() {
  if (auto handled = report_refused_calls(); !handled) return handled;
  const std::unique_ptr<void, void (*)(scmp_filter_ctx)> context{::seccomp_init(SCMP_ACT_TRAP), &::seccomp_release};
  if (context == nullptr) return fail(Errc::io, "making a filter of system calls");
  Rules rules{context.get()};
  for (const char* const call : allowed_calls()) rules.add(SCMP_ACT_ALLOW, call);
  for (const char* const call : deadly_calls()) rules.add(SCMP_ACT_KILL_PROCESS, call);
  add_closer_looks(rules);
  if (auto added = rules.outcome(); !added) return added;
  // All threads at once; a search in a tree instead of a list, for kernels that do not remember what is always allowed.
  for (const auto& [attribute, value] : {std::pair{SCMP_FLTATR_CTL_TSYNC, 1u},
                                         {SCMP_FLTATR_CTL_OPTIMIZE, 2u},
                                         {SCMP_FLTATR_CTL_NNP, 0u},
                                         {SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS}}) {
    if (const int failed = ::seccomp_attr_set(context.get(), attribute, value); failed != 0)
      return fail_errno("an attribute of the filter of system calls", -failed);
  }
  if (const int failed = ::seccomp_load(context.get()); failed != 0)
    return fail_errno("loading the filter of system calls", -failed);
  return {};
}

}  // namespace stellarium::server::sandbox
