#include "fs/exact_holes.h"

#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/boot_id.h"
#include "fs/host_blocks.h"
#include "fs/places.h"

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
  if (file.has_exact_holes()) return {};
  const std::unique_lock lock{file.places()};
  if (file.has_exact_holes()) return {};
  const std::string boot = boot_id(system_io());
  if (is_of_boot(file.fd(), boot)) return file.set_exact_holes(), Result<void>{};
  // Of a file that nobody wrote since the start this finds nothing to do. Otherwise blocks may be on their way.
  if (auto durable = staging.make_durable(file.id()); !durable) return durable;
  if (auto punched = punch_unwritten(file.fd()); !punched) return punched;
  mark(file.fd(), boot);
  file.set_exact_holes();
  return {};
}

Result<bool> has_hole_map(int fd) {
  constexpr auto kAt = static_cast<off_t>(kPlace);
  const std::vector<std::byte> bytes(kPlace, std::byte{1});
  if (::pwrite(fd, bytes.data(), bytes.size(), kAt) != kAt) return fail_errno("writing a staged file");
  const bool exact =
      ::ftruncate(fd, 4 * kAt) == 0 && ::lseek(fd, 0, SEEK_DATA) == kAt && ::lseek(fd, kAt, SEEK_HOLE) == 2 * kAt;
  if (::ftruncate(fd, 0) != 0) return fail_errno("emptying a staged file");
  return exact;
}

void mark_holes_exact(Staging::File& file) {
  mark(file.fd(), boot_id(system_io()));
  file.set_exact_holes();
}

}  // namespace stellarium::fs
