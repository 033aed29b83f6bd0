#include "tier/verity.h"

#include <fcntl.h>
#include <linux/fsverity.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <cerrno>
#include <string>

#include "base/unique_fd.h"

namespace stellarium::tier {
namespace {

constexpr mode_t kNeverWritten = 0400, kWritable = 0600;

}  // namespace

Result<void> enable_verity(int fd) {
  struct fsverity_enable_arg argument {};
  argument.version = 1;
  argument.hash_algorithm = FS_VERITY_HASH_ALG_SHA256;
  argument.block_size = 4096;
  int enabled = ::ioctl(fd, FS_IOC_ENABLE_VERITY, &argument);
  if (enabled != 0 && errno == EACCES && ::fchmod(fd, kWritable) == 0) {
    // The kernel asks for permission to write, which nobody has here: root neither, once it has given up capabilities.
    enabled = ::ioctl(fd, FS_IOC_ENABLE_VERITY, &argument);
    const int failed = errno;
    (void)::fchmod(fd, kNeverWritten);
    errno = failed;
  }
  if (enabled == 0 || errno == EEXIST) return {};
  if (errno == ENOTTY) errno = EOPNOTSUPP;  // the ioctl itself is unknown to this file system
  return fail_errno("enabling fs-verity");
}

bool has_verity(int folder) {
  const UniqueFd writable{::openat(folder, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, kNeverWritten)};
  if (!writable) return false;
  const std::string self = "/proc/self/fd/" + std::to_string(writable.get());
  const UniqueFd readable{::open(self.c_str(), O_RDONLY | O_CLOEXEC)};
  if (!readable) return false;
  // With the writable descriptor still open a file system that knows the ioctl answers ETXTBSY, one that does not
  // ENOTTY or EOPNOTSUPP.
  const Result<void> enabled = enable_verity(readable.get());
  return enabled || enabled.error().sys_errno == ETXTBSY;
}

}  // namespace stellarium::tier
