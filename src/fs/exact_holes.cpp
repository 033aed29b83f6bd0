#include "fs/exact_holes.h"

#include <sys/xattr.h>

#include <array>
#include <string>
#include <string_view>

#include "base/boot_id.h"
#include "fs/host_blocks.h"

namespace stellarium::fs {
namespace {

bool is_of_boot(int fd, const std::string& boot) {
  std::array<char, 64> value;
  const ssize_t size = ::fgetxattr(fd, kExactInBoot, value.data(), value.size());
  return size > 0 && !boot.empty() && std::string_view{value.data(), static_cast<std::size_t>(size)} == boot;
}

// Not kept, it costs the next one who opens the file a look at it.
void mark(int fd, const std::string& boot) {
  if (!boot.empty()) (void)::fsetxattr(fd, kExactInBoot, boot.data(), boot.size(), 0);
}

}  // namespace

Result<void> make_holes_exact(Staging& staging, Staging::File& file) {
  const std::string boot = boot_id(system_io());
  if (is_of_boot(file.fd(), boot)) return {};
  // Of a file that nobody wrote since the start this finds nothing to do. Otherwise blocks may be on their way.
  if (auto durable = staging.make_durable(file.id()); !durable) return durable;
  if (auto punched = punch_unwritten(file.fd()); !punched) return punched;
  mark(file.fd(), boot);
  return {};
}

void mark_holes_exact(Staging::File& file) {
  mark(file.fd(), boot_id(system_io()));
}

}  // namespace stellarium::fs
