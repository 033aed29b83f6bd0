#pragma once
#include <cstdint>
#include <string_view>

#include "fs/fuse/request.h"

namespace stellarium::fs::fuse {

/// What a request does not say of the thread that sent it, and the system knows: it waits for the answer meanwhile.
/// (Where mounts may be shifted, the kernel names a user only in requests that make something.)
struct Caller {
  bool in_group = true;          ///< of the asked group: it is its own, or one of the others
  bool has_fsetid = true;        ///< CAP_FSETID: keeps suid and sgid of what it changes
  bool is_administrator = true;  ///< root of the host with CAP_SYS_ADMIN: sees trusted.* attributes
};

/// `group`: as inodes have it. Which mount the thread uses is not known, so it may be an id of the host or one of the
/// thread's own namespace, to which the mount is shifted: who is in either is a member. Of a thread that cannot be
/// looked at everything is taken to be true. Of a guest's only what the request says is known: its user and first
/// group. Cost: 20 µs, two files of /proc.
Caller caller_of(const Request& request, std::uint32_t group);
/// The same from the texts of /proc/PID/status and /proc/PID/gid_map.
Caller parse_caller(std::string_view status, std::string_view map, std::uint32_t group);

}  // namespace stellarium::fs::fuse
