#pragma once

namespace stellarium::fs::fuse {

/// Whether the kernel would let this process make backing ids: CAP_SYS_ADMIN in the initial user namespace.
bool may_pass_through();

/// While it lives, this thread has neither the superuser's files nor CAP_SYS_RESOURCE: what the kernel writes with
/// credentials that are taken meanwhile counts against quotas and leaves the host's reserve alone.
/// What cannot be given up (the server is no superuser) is not there.
class AsNobody {
 public:
  AsNobody();
  ~AsNobody();
  AsNobody(const AsNobody&) = delete;
  AsNobody& operator=(const AsNobody&) = delete;

 private:
  const int earlier_;  // user of the thread's file accesses
};

}  // namespace stellarium::fs::fuse
