#include "virtiofsd/inflight.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <vector>

namespace stellarium::virtiofsd {
namespace {

using Heads = std::vector<std::uint16_t>;

constexpr std::uint16_t kQueues = 2, kSize = 16;

UniqueFd again(const UniqueFd& file) {
  return UniqueFd{::fcntl(file.get(), F_DUPFD_CLOEXEC, 3)};
}

/// A region, and devices that are killed one after the other.
class InflightTest : public testing::Test {
 protected:
  InflightTest() {
    auto made = InflightRegion::make(kQueues, kSize);
    file_ = std::move(made->first);
    size_ = made->second;
  }
  InflightQueue next_device(std::uint16_t queue = 1) {
    return (*InflightRegion::map(again(file_), size_, 0, kQueues, kSize))->queue(queue);
  }
  UniqueFd file_;
  std::uint64_t size_ = 0;
};

TEST_F(InflightTest, WhatWasNotGivenBackIsTakenOverInItsOrder) {
  InflightQueue first = next_device();
  const auto nothing = first.take_over(7, kSize);
  EXPECT_FALSE(nothing.known);
  EXPECT_TRUE(nothing.heads.empty());
  for (const std::uint16_t head : Heads{5, 3, 9}) first.taken(head);
  first.giving_back(3);
  first.given_back(3, 8);
  first.taken(3);

  InflightQueue second = next_device();
  const auto over = second.take_over(8, kSize);
  EXPECT_TRUE(over.known);
  EXPECT_EQ(over.heads, (Heads{5, 9, 3}));
  second.taken(4);
  EXPECT_EQ(next_device().take_over(8, kSize).heads, (Heads{5, 9, 3, 4}));
  EXPECT_FALSE(next_device(0).take_over(0, kSize).known);
}

TEST_F(InflightTest, WhatWasThereBeforeAnyDeviceIsNobodysRequest) {
  void* mapped = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, file_.get(), 0);
  ASSERT_NE(mapped, MAP_FAILED);
  auto* const bytes = static_cast<unsigned char*>(mapped);
  std::memset(bytes, 1, size_);
  const std::size_t second_queue = size_ / kQueues;
  std::memset(bytes + second_queue + 8, 0, 2);  // its version: none
  EXPECT_FALSE(next_device().take_over(7, kSize).known);
  EXPECT_TRUE(next_device().take_over(7, kSize).heads.empty());
  ::munmap(mapped, size_);
}

TEST_F(InflightTest, WhatTheGuestHasSeenComeBackIsNotDoneAgain) {
  InflightQueue first = next_device();
  first.take_over(7, kSize);
  first.taken(5);
  first.taken(6);
  first.giving_back(5);  // killed before the index was moved
  EXPECT_EQ(next_device().take_over(7, kSize).heads, (Heads{5, 6}));
  InflightQueue second = next_device();
  second.take_over(7, kSize);
  second.giving_back(6);  // killed behind it
  EXPECT_EQ(next_device().take_over(8, kSize).heads, (Heads{5}));
}

TEST_F(InflightTest, WhatIsGivenBackIsOurs) {
  EXPECT_FALSE(InflightRegion::make(0, kSize));
  EXPECT_FALSE(InflightRegion::make(kQueues, 0));
  EXPECT_FALSE(InflightRegion::make(65, kSize));
  EXPECT_FALSE(InflightRegion::make(kQueues, 32'769));
  EXPECT_FALSE(InflightRegion::map(again(file_), size_ + 1, 0, kQueues, kSize));
  EXPECT_FALSE(InflightRegion::map(again(file_), size_, 64, kQueues, kSize));
  EXPECT_FALSE(InflightRegion::map(again(file_), size_, 0, kQueues, 1024));
  EXPECT_FALSE(InflightRegion::map(again(file_), ~0ull, 0, kQueues, kSize));
  EXPECT_FALSE(InflightRegion::map(again(file_), size_, 0, 0, kSize));
  EXPECT_FALSE(InflightRegion::map(UniqueFd{}, size_, 0, kQueues, kSize));
  const UniqueFd foreign{::memfd_create("foreign", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
  EXPECT_EQ(::ftruncate(foreign.get(), static_cast<off_t>(size_)), 0);
  EXPECT_FALSE(InflightRegion::map(again(foreign), size_, 0, kQueues, kSize));  // it could shrink
  EXPECT_EQ(::ftruncate(file_.get(), 0), -1);
}

TEST_F(InflightTest, AnythingMayBeInIt) {
  void* bytes = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, file_.get(), 0);
  ASSERT_NE(bytes, MAP_FAILED);
  for (const int fill : {0xff, 0x01}) {
    std::memset(bytes, fill, size_);
    InflightQueue queue = next_device();
    EXPECT_LE(queue.take_over(3, kSize).heads.size(), kSize);
    queue.taken(65'535);
    queue.giving_back(65'535);
    queue.given_back(65'535, 4);
  }
  EXPECT_LE(next_device().take_over(3, 1024).heads.size(), kSize);
  ::munmap(bytes, size_);
}

}  // namespace
}  // namespace stellarium::virtiofsd
