#pragma once

namespace stellarium::fs {

/// While it lives, this thread has neither the superuser's files nor CAP_SYS_RESOURCE: what the kernel writes with
/// credentials that are taken meanwhile counts against quotas and leaves the host's reserve alone.
/// What cannot be given up (the server is no superuser) is not there. Cost: six system calls.
class AsNobody {
 public:
  AsNobody();
  ~AsNobody();
  AsNobody(const AsNobody&) = delete;
  AsNobody& operator=(const AsNobody&) = delete;

 private:
  const int earlier_;  // user of the thread's file accesses
};

}  // namespace stellarium::fs
