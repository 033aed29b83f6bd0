#include "base/error.h"

#include <cerrno>
#include <system_error>

namespace stellarium {

std::string_view name_of(Errc code) {
  switch (code) {
    case Errc::not_found:
      return "not_found";
    case Errc::exists:
      return "exists";
    case Errc::corrupt:
      return "corrupt";
    case Errc::invalid_argument:
      return "invalid_argument";
    case Errc::not_supported:
      return "not_supported";
    case Errc::permission:
      return "permission";
    case Errc::busy:
      return "busy";
    case Errc::out_of_space:
      return "out_of_space";
    case Errc::unavailable:
      return "unavailable";
    case Errc::cancelled:
      return "cancelled";
    case Errc::version:
      return "version";
    case Errc::io:
      return "io";
  }
  return "unknown";
}

std::string to_string(const Error& error) {
  if (error.sys_errno == 0) return error.context;
  return error.context + ": " + std::generic_category().message(error.sys_errno);
}

Errc errc_from_errno(int sys_errno) {
  switch (sys_errno) {
    case ENOENT:
      return Errc::not_found;
    case EEXIST:
      return Errc::exists;
    case EINVAL:
    case ENAMETOOLONG:
    case ENOTDIR:
    case EISDIR:
    case EFBIG:
      return Errc::invalid_argument;
    case EOPNOTSUPP:
    case ENOSYS:
      return Errc::not_supported;
    case EACCES:
    case EPERM:
    case EROFS:
      return Errc::permission;
    case EBUSY:
    case ETXTBSY:
      return Errc::busy;
    case ENOSPC:
    case EDQUOT:
      return Errc::out_of_space;
    default:
      return Errc::io;
  }
}

int errno_of(const Error& error) {
  switch (error.code) {
    case Errc::not_found:
      return ENOENT;
    case Errc::exists:
      return EEXIST;
    case Errc::corrupt:
      return EIO;
    case Errc::invalid_argument:
      return error.sys_errno != 0 ? error.sys_errno : EINVAL;
    case Errc::not_supported:
      return error.sys_errno != 0 ? error.sys_errno : EOPNOTSUPP;
    case Errc::permission:
      return error.sys_errno != 0 ? error.sys_errno : EACCES;
    case Errc::busy:
      return error.sys_errno != 0 ? error.sys_errno : EBUSY;
    case Errc::out_of_space:
      return error.sys_errno != 0 ? error.sys_errno : ENOSPC;
    case Errc::unavailable:
      return EIO;
    case Errc::cancelled:
      return EINTR;
    case Errc::version:
      return EIO;
    case Errc::io:
      return EIO;
  }
  return EIO;
}

}  // namespace stellarium
