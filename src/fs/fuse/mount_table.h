#pragma once
#include <filesystem>
#include <istream>
#include <optional>
#include <string>
#include <string_view>

namespace stellarium::fs::fuse {

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
/// The same in a table that was read elsewhere.
std::optional<MountEntry> mount_in(std::istream& table, const std::string& path);

}  // namespace stellarium::fs::fuse
