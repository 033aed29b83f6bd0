#pragma once
#include <sys/types.h>

#include <optional>
#include <string>

#include "base/mutex.h"
#include "base/result.h"
#include "fs/fuse/host_processes.h"
#include "tools/protocol/channel.h"
#include "tools/protocol/outside.h"

namespace stellarium::server {

/// What the server knows of the host around it: by way of the first process of its pid namespace, if it has one, else
/// from /proc. A question costs some ten microseconds; they are rare.
///
/// Threads: all functions may be called concurrently.
class Outside final : public fs::fuse::HostProcesses {
 public:
  /// To be made while /proc is still the host's.
  explicit Outside(std::optional<protocol::Channel> first_process)
      : first_process_{std::move(first_process)}, numbers_{numbers_in_proc()} {}

  /// This process and its parent, the keeper, as the host calls them: getpid(2) says something else in a pid namespace.
  struct Numbers {
    pid_t process = 0, keeper = 0;
  };
  const Numbers& numbers() const { return numbers_; }

  /// Whether this process has a pid namespace of its own.
  bool is_asked() const { return first_process_.has_value(); }

  std::string read(std::uint32_t thread, File file) const override EXCLUDES(mutex_);
  /// The host's /proc/self/mountinfo; empty if it cannot be had.
  std::string mounts() const EXCLUDES(mutex_);

 private:
  Result<UniqueFd> ask(protocol::OutsideType type, std::string_view payload) const EXCLUDES(mutex_);

  static Numbers numbers_in_proc();

  mutable Mutex mutex_;  ///< one question, then its answer
  const std::optional<protocol::Channel> first_process_;
  const Numbers numbers_;
};

}  // namespace stellarium::server
