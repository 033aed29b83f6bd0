#include "tools/cli/kernel_features.h"

#include <sys/utsname.h>

#include <charconv>

namespace stellarium::cli {

KernelFeatures features_of_kernel(unsigned major, unsigned minor) {
  const auto since = [&](unsigned want_major, unsigned want_minor) {
    return major > want_major || (major == want_major && minor >= want_minor);
  };
  return {.passthrough = since(6, 9),
          .resend = since(6, 9),
          .idmapped_mounts = since(6, 12),
          .fuse_over_io_uring = since(6, 14),
          .large_copies = since(6, 18)};
}

KernelFeatures features_of_release(std::string_view release) {
  unsigned major = 0, minor = 0;
  const char* const end = release.data() + release.size();
  const auto parsed = std::from_chars(release.data(), end, major);
  if (parsed.ptr != end) std::from_chars(parsed.ptr + 1, end, minor);
  return features_of_kernel(major, minor);
}

std::string kernel_release() {
  utsname name{};
  ::uname(&name);
  return name.release;
}

}  // namespace stellarium::cli
