#pragma once
#include <cstdint>

namespace stellarium::protocol {

/// What a server that has a pid namespace and mounts of its own asks the namespace's first process, which sees the
/// host. The answer to each question is one frame.
enum class OutsideType : std::uint16_t {
  status = 96,   ///< server → first process: /proc/THREAD/status; the payload is the thread's number, 4 bytes
  gid_map = 97,  ///< the same of /proc/THREAD/gid_map
  mounts = 98,   ///< the host's mounts; no payload
  opened = 99,   ///< first process → server: a descriptor of the file, to be read
  absent = 100,  ///< it cannot be opened
};

/// The number in a frame's header.
inline std::uint16_t wire(OutsideType type) {
  return static_cast<std::uint16_t>(type);
}

}  // namespace stellarium::protocol
