#pragma once
#include <string>
#include <string_view>

namespace stellarium::cli {

/// What a kernel can do for a FUSE file system, after the table in docs/daemon.md.
struct KernelFeatures {
  bool passthrough, resend, idmapped_mounts, fuse_over_io_uring, large_copies;
};
KernelFeatures features_of_kernel(unsigned major, unsigned minor);

/// `release` is what uname(2) says, "6.1.0-18-amd64". Of one that does not begin with two numbers: of no kernel.
KernelFeatures features_of_release(std::string_view release);

/// uname(2)'s release of the running kernel.
std::string kernel_release();

}  // namespace stellarium::cli
