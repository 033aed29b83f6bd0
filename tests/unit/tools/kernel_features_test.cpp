#include "tools/cli/kernel_features.h"

#include <gtest/gtest.h>

namespace stellarium::cli {
namespace {

TEST(KernelFeatures, FollowTheTableOfKernels) {
  EXPECT_FALSE(features_of_kernel(6, 1).passthrough);
  EXPECT_FALSE(features_of_kernel(6, 1).resend);
  EXPECT_TRUE(features_of_kernel(6, 9).passthrough);
  EXPECT_FALSE(features_of_kernel(6, 11).idmapped_mounts);
  EXPECT_TRUE(features_of_kernel(6, 12).idmapped_mounts);
  EXPECT_TRUE(features_of_kernel(7, 0).large_copies);
}

TEST(KernelFeatures, AreReadOffTheRelease) {
  EXPECT_FALSE(features_of_release("6.1.0-18-amd64").passthrough);
  EXPECT_TRUE(features_of_release("6.12.3").idmapped_mounts);
  EXPECT_TRUE(features_of_release("6.12+").idmapped_mounts);
  EXPECT_TRUE(features_of_release("10.0-rc1").large_copies);
  for (const char* release : {"", "6", "6.", "linux", "-6.18"})
    EXPECT_FALSE(features_of_release(release).passthrough) << release;
  EXPECT_FALSE(kernel_release().empty());
}

}  // namespace
}  // namespace stellarium::cli
