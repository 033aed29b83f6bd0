#include "tools/cli/machine_words.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace stellarium::cli {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

const MachineParts kParts{
    .name = "web-1", .socket = "fd=7", .kernel = "/k", .initrd = {}, .memory = 512u << 20, .accelerators = "kvm:tcg"};

std::string word_behind(const std::vector<std::string>& words, const std::string& option) {
  const auto found = std::ranges::find(words, option);
  return found == words.end() || found + 1 == words.end() ? "" : *(found + 1);
}

TEST(Machine, HasItsRootOnSharedMemory) {
  const VmOptions options{.ref = "web", .cpus = 3};
  EXPECT_THAT(machine_words(options, kParts),
              ElementsAre("qemu-system-x86_64", "-name", "web-1", "-machine", "q35,memory-backend=memory", "-accel",
                          "kvm", "-accel", "tcg", "-cpu", "max", "-smp", "3", "-m", "512M", "-object",
                          "memory-backend-memfd,id=memory,size=512M,share=on", "-nodefaults", "-no-user-config",
                          "-display", "none", "-serial", "mon:stdio", "-chardev", "socket,id=root,fd=7", "-device",
                          "vhost-user-fs-pci,chardev=root,tag=root,queue-size=1024", "-device", "virtio-rng-pci",
                          "-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile=", "-kernel", "/k",
                          "-append", "console=ttyS0 root=root rootfstype=virtiofs rw"));
}

TEST(Machine, TakesWhatItsUserAdds) {
  MachineParts parts = kParts;
  parts.initrd = "/i";
  const auto words = machine_words(
      {.ref = "web", .qemu_words = {"-no-reboot"}, .append = "quiet init=/bin/sh", .net = "user,hostfwd=tcp::22-:22"},
      parts);
  EXPECT_EQ(word_behind(words, "-initrd"), "/i");
  EXPECT_EQ(word_behind(words, "-append"), "console=ttyS0 root=root rootfstype=virtiofs rw quiet init=/bin/sh");
  EXPECT_EQ(word_behind(words, "-netdev"), "user,id=net,hostfwd=tcp::22-:22");
  EXPECT_EQ(words.back(), "-no-reboot");
}

TEST(Machine, HasNoNetworkIfNoneIsWanted) {
  const auto words = machine_words({.ref = "web", .net = "none"}, kParts);
  EXPECT_THAT(words, Not(Contains("-netdev")));
  EXPECT_THAT(words, Not(Contains(HasSubstr("virtio-net"))));
}

TEST(Machine, DoublesCommasInLists) {
  MachineParts parts = kParts;
  parts.name = "a,b";
  EXPECT_EQ(word_behind(machine_words({.ref = "a"}, parts), "-name"), "a,,b");
}

TEST(Machine, HasMemoryInWholeMebibytes) {
  EXPECT_EQ(machine_memory("1G"), std::uint64_t{1} << 30);
  EXPECT_EQ(machine_memory("32M"), std::uint64_t{32} << 20);
  for (const std::string& size :
       std::vector<std::string>{"", "0", "31M", "1", "x", "33554433", "-1G", "99999999999T"}) {
    const auto memory = machine_memory(size);
    ASSERT_FALSE(memory) << size;
    EXPECT_THAT(memory.error().context, HasSubstr("--memory " + size));
  }
}

TEST(Machine, UsesKvmOnlyWhereTheProcessorCan) {
  EXPECT_EQ(usual_accelerators("flags\t\t: fpu vme vmx smx\n"), "kvm:tcg");
  EXPECT_EQ(usual_accelerators("flags\t\t: fpu svm npt\n"), "kvm:tcg");
  EXPECT_EQ(usual_accelerators("flags\t\t: fpu vme svm_lock\n"), "tcg");
  EXPECT_EQ(usual_accelerators(""), "tcg");
}

}  // namespace
}  // namespace stellarium::cli
