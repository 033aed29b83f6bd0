#include "fs/xattr_reader.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>

namespace stellarium::fs {
namespace {

// Newer than Debian 12's headers; the same numbers on every architecture.
constexpr long kGetxattrat = 464, kListxattrat = 465;

constexpr std::size_t kMaxValue = 64 << 10;  // the kernel's XATTR_SIZE_MAX

std::string through_proc(int dir, const std::string& name) {
  return "/proc/self/fd/" + std::to_string(dir) + "/" + name;
}

}  // namespace

Result<XattrReader::Xattrs> XattrReader::all_of(int dir, const std::string& name, const std::string& path) {
  Xattrs found;
  ssize_t size = list(dir, name);
  while (size < 0 && errno == ERANGE) {
    names_.resize(names_.size() * 2);
    size = list(dir, name);
  }
  if (size < 0 && (errno == EOPNOTSUPP || errno == ENOENT)) return found;
  if (size < 0) return fail_errno("listing attributes of " + path);
  for (const char* at = names_.data(); at < names_.data() + size; at += std::strlen(at) + 1) {
    std::string value(kMaxValue, '\0');
    const ssize_t length = get(dir, name, at, value);
    if (length < 0 && (errno == ENODATA || errno == EOPNOTSUPP)) continue;  // removed meanwhile, or not ours to read
    if (length < 0) return fail_errno("reading attribute " + std::string{at} + " of " + path);
    value.resize(static_cast<std::size_t>(length));
    found.emplace_back(at, std::move(value));
  }
  std::sort(found.begin(), found.end());
  return found;
}

ssize_t XattrReader::list(int dir, const std::string& name) {
  if (at_calls_) {
    const long size = ::syscall(kListxattrat, dir, name.c_str(), AT_SYMLINK_NOFOLLOW, names_.data(), names_.size());
    if (size >= 0 || errno != ENOSYS) return size;
    at_calls_ = false;
  }
  return ::llistxattr(through_proc(dir, name).c_str(), names_.data(), names_.size());
}

ssize_t XattrReader::get(int dir, const std::string& name, const char* attribute, std::string& value) const {
  if (!at_calls_) return ::lgetxattr(through_proc(dir, name).c_str(), attribute, value.data(), value.size());
  struct {  // struct xattr_args of linux/xattr.h
    std::uint64_t value;
    std::uint32_t size, flags;
  } arguments{reinterpret_cast<std::uintptr_t>(value.data()), static_cast<std::uint32_t>(value.size()), 0};
  return ::syscall(kGetxattrat, dir, name.c_str(), AT_SYMLINK_NOFOLLOW, attribute, &arguments, sizeof arguments);
}

}  // namespace stellarium::fs
