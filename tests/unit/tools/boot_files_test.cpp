#include "tools/cli/boot_files.h"

#include <gtest/gtest.h>

namespace stellarium::cli {
namespace {

TEST(BootFiles, AreThoseOfTheNewestKernel) {
  const auto found = newest_kernel("/boot",
                                   "config-6.1.0-9-amd64\ninitrd.img-6.1.0-10-amd64\ninitrd.img-6.1.0-9-amd64\n"
                                   "vmlinuz-6.1.0-10-amd64\nvmlinuz-6.1.0-9-amd64\n");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->kernel, "/boot/vmlinuz-6.1.0-10-amd64");
  EXPECT_EQ(found->initrd, "/boot/initrd.img-6.1.0-10-amd64");
}

TEST(BootFiles, TakeNoInitialFileSystemOfAnotherKernel) {
  const auto found = newest_kernel("/boot", "initrd.img-6.1.0-9-amd64\nvmlinuz-6.12.1\n");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->kernel, "/boot/vmlinuz-6.12.1");
  EXPECT_EQ(found->initrd, "");
}

TEST(BootFiles, NeedAKernel) {
  EXPECT_FALSE(newest_kernel("/boot", ""));
  EXPECT_FALSE(newest_kernel("/boot", "grub\nvmlinux-6.1\nold-vmlinuz-6.1\ninitrd.img-6.1\n"));
}

}  // namespace
}  // namespace stellarium::cli
