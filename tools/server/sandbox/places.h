#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <vector>

namespace stellarium::server::sandbox {

/// What the server opens by name besides the store, both for its own mounts and for Landlock.
struct Place {
  enum class Use : std::uint8_t { read, write_device };
  const char* path;
  Use use;
};
inline constexpr std::array<Place, 3> kPlaces{{
    {"/proc", Place::Use::read},                         // its own descriptors and memory, the boot id
    {"/sys/devices/system/cpu", Place::Use::read},       // how many processors there are
    {"/dev/cpu_dma_latency", Place::Use::write_device},  // processors that stay awake (fs/fuse/wake_latency.h)
}};

/// Folders of the store whose files the kernel opens by way of a mount that begins there, or outlives this process's
/// mounts: a rule for the folder above is not found from such a file.
inline constexpr std::array<const char*, 2> kBackingFolders{"hot", "staged"};

/// The folders elsewhere to which symlinks in the store lead: somebody has moved a part of it to another disk. (The
/// server itself can make no symlink.)
std::vector<std::filesystem::path> moved_folders(const std::filesystem::path& store);

}  // namespace stellarium::server::sandbox
