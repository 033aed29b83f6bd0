#pragma once
#include <sys/types.h>

#include <filesystem>

#include "base/result.h"
#include "base/unique_fd.h"

namespace stellarium::keeper {

/// A pid namespace for one server: whoever takes that over sees, and can send signals to, no process of the host. Its first process
/// (which cannot be the server: the kernel gives it other signals than the rest) is the keeper's program with
/// kHoldNamespace, and does nothing. It ends when nobody holds `lifeline` any more, so also after a server that has
/// outlived the keeper.
class PidNamespace {
 public:
  static constexpr const char* kHoldNamespace = "--hold-namespace";

  /// `keeper`: this program. From now on children of this process are born in the namespace. Errors: permission (needs
  /// CAP_SYS_ADMIN), io; they are born here then.
  static Result<PidNamespace> enter(const std::filesystem::path& keeper);
  /// Children are born here again, and this process no longer holds the lifeline.
  Result<void> leave();
  /// For the server to inherit.
  int lifeline() const { return lifeline_.get(); }
  /// The server is gone: waits for the first process, too.
  void end();

 private:
  UniqueFd outside_, lifeline_;
  pid_t first_ = 0;
};

/// What the first process does: waits until nobody holds the other end of its standard input. Returns its exit code.
int hold_namespace();

}  // namespace stellarium::keeper
