#pragma once
#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace stellarium {

/// One line of /proc/self/mountinfo.
struct MountEntry {
  std::string device;      ///< "major:minor", as in /sys/class/bdi
  std::string mountpoint;  ///< unescaped
  std::string type;        ///< "fuse.stellarium"
};

/// Nothing for lines of another shape.
std::optional<MountEntry> parse_mountinfo(std::string_view line);

/// The topmost mount on exactly this absolute path. Looks at /proc only, so that a mount that hangs cannot hang us.
std::optional<MountEntry> mount_on(const std::string& path);

/// The first mount of the file system with this device number (`st_dev`).
std::optional<MountEntry> mount_of(dev_t device);

}  // namespace stellarium
