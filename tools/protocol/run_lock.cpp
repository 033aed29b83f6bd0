#include "tools/protocol/run_lock.h"

#include <fcntl.h>

#include <cerrno>

namespace stellarium::protocol {
namespace {

struct flock whole_file() {
  struct flock range {};
  range.l_type = F_WRLCK;
  range.l_whence = SEEK_SET;
  return range;
}

}  // namespace

Result<UniqueFd> take_lock(const std::filesystem::path& file) {
  UniqueFd lock{::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
  if (!lock) return fail_errno(file.string());
  struct flock range = whole_file();
  if (::fcntl(lock.get(), F_OFD_SETLK, &range) == 0) return lock;
  if (errno == EAGAIN || errno == EACCES) return fail(Errc::busy, file.string() + " is locked");
  return fail_errno("locking " + file.string());
}

bool is_locked(const std::filesystem::path& file) {
  const UniqueFd lock{::open(file.c_str(), O_RDWR | O_CLOEXEC)};
  struct flock range = whole_file();
  return lock && ::fcntl(lock.get(), F_OFD_GETLK, &range) == 0 && range.l_type != F_UNLCK;
}

}  // namespace stellarium::protocol
