#pragma once
#include <sys/types.h>

#include <filesystem>

#include "base/result.h"
#include "base/unique_fd.h"

namespace stellarium::keeper {

/// A pid namespace for one server: whoever takes that over sees, and can send signals to, no process of the host. Its
/// first process (which cannot be the server: the kernel gives it other signals than the rest) is the keeper's program
/// with kFirstProcess, and does what first_process.h says. It ends when nobody holds `server_end` any more, so also
/// after a server that has outlived the keeper.
class PidNamespace {
 public:
  static constexpr const char* kFirstProcess = "--first-process";

  /// `keeper`: this program. From now on children of this process are born in the namespace. Errors: permission (needs
  /// CAP_SYS_ADMIN), io; they are born here then.
  static Result<PidNamespace> enter(const std::filesystem::path& keeper);
  /// Children are born here again, and this process no longer holds the server's end.
  Result<void> leave();
  /// Of the socket to the first process: for the server to inherit.
  int server_end() const { return server_end_.get(); }
  /// The server is gone: waits for the first process, too.
  void end();

 private:
  UniqueFd outside_, server_end_;
  pid_t first_ = 0;
};

/// The first process, with its end of the socket as standard input. Returns its exit code.
int run_first_process();

}  // namespace stellarium::keeper
