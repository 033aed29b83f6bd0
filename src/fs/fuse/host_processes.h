#pragma once
#include <cstdint>
#include <string>

namespace stellarium::fs::fuse {

/// What the host knows of the threads that make requests. A server that cannot see the host's processes asks somebody
/// who can (tools/server/outside.h).
class HostProcesses {
 public:
  enum class File : std::uint8_t { status, gid_map };  ///< of /proc/THREAD

  virtual ~HostProcesses() = default;
  /// The file's beginning, at most kMaxText; empty if it cannot be had. Threads: may be called concurrently.
  virtual std::string read(std::uint32_t thread, File file) const = 0;

  static constexpr std::size_t kMaxText = 8192;  ///< who has thousands of groups is not looked at to the end
};

/// The name of the file in /proc/THREAD.
const char* name_of(HostProcesses::File file);

/// Looks into /proc itself.
const HostProcesses& processes_in_proc();

}  // namespace stellarium::fs::fuse
