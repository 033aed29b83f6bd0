#include "tools/server/sandbox/capabilities.h"

#include <cap-ng.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <array>

namespace stellarium::server::sandbox {
namespace {

struct Needed {
  unsigned capability;
  const char* name;
};
// CAP_SYS_ADMIN: backing ids, limits of projects, the hot folder's private mount. CAP_SETUID: setfsuid(2), so that what
// clones write counts against quotas. CAP_SYS_RESOURCE: what is there already when a clone gets a quota becomes its
// project's, also if that is more than its limit (fs/as_nobody.h puts it away while clones write). CAP_IPC_LOCK only
// where the limit of locked memory could not be lifted.
constexpr std::array<Needed, 4> kNeeded{{{CAP_SYS_ADMIN, "sys_admin"},
                                         {CAP_SETUID, "setuid"},
                                         {CAP_SYS_RESOURCE, "sys_resource"},
                                         {CAP_IPC_LOCK, "ipc_lock"}}};

bool locks_without_capability() {
  rlimit limit{};
  return ::getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur == RLIM_INFINITY;
}

}  // namespace

Result<std::string> give_up_capabilities() {
  capng_clear(CAPNG_SELECT_ALL);
  if (capng_get_caps_process() != 0) return fail(Errc::io, "reading this process's capabilities");
  std::array<bool, kNeeded.size()> kept{};
  for (std::size_t i = 0; i < kNeeded.size(); ++i)
    kept[i] = capng_have_capability(CAPNG_PERMITTED, kNeeded[i].capability) != 0;
  // Without this capability the bounding set cannot be changed: there is little else then either.
  const bool may_bound = capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP) != 0;
  std::string left;
  capng_clear(CAPNG_SELECT_ALL);
  for (std::size_t i = 0; i < kNeeded.size(); ++i) {
    if (!kept[i] || (kNeeded[i].capability == CAP_IPC_LOCK && locks_without_capability())) continue;
    if (capng_update(CAPNG_ADD, static_cast<capng_type_t>(CAPNG_EFFECTIVE | CAPNG_PERMITTED), kNeeded[i].capability) !=
        0)
      return fail(Errc::io, "choosing capabilities");
    left += (left.empty() ? "" : ", ") + std::string{kNeeded[i].name};
  }
  if (capng_apply(may_bound ? CAPNG_SELECT_ALL : CAPNG_SELECT_CAPS) != 0) return fail_errno("giving up capabilities");
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return fail_errno("PR_SET_NO_NEW_PRIVS");
  return left;
}

}  // namespace stellarium::server::sandbox
