#include "virtiofsd/guest_memory.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include "support/guest_frontend.h"

namespace stellarium::virtiofsd {
namespace {

constexpr std::uint64_t kMiB = 1u << 20;
constexpr std::uint64_t kLastAddress = ~std::uint64_t{0};

std::shared_ptr<const GuestRegion> region_of(const test::GuestRam& ram, std::uint64_t guest, std::uint64_t size,
                                             std::uint64_t offset) {
  auto region = GuestRegion::map({guest, size, ram.user_address(offset), offset}, ram.duplicate());
  EXPECT_TRUE(region);
  return region ? *region : nullptr;
}

TEST(GuestRegion, HasTheBytesOfItsFileFromItsOffsetOn) {
  const test::GuestRam ram;
  for (const std::uint64_t offset : {std::uint64_t{0}, kMiB, kMiB + 24}) {
    const auto region = region_of(ram, 0, 4096, offset);
    *ram.at(offset) = std::byte{42};
    *ram.at(offset + 4095) = std::byte{43};
    EXPECT_EQ(region->bytes()[0], std::byte{42});
    EXPECT_EQ(region->bytes()[4095], std::byte{43});
  }
}

TEST(GuestRegion, WhatCannotBeIsRefused) {
  const test::GuestRam ram{kMiB};
  const std::uint64_t user = ram.user_address(0);
  for (const protocol::MemoryRegion& wrong : {protocol::MemoryRegion{0, 0, user, 0},
                                              {0, kLastAddress, user, 0},
                                              {0, 1ull << 63, user, 0},
                                              {kLastAddress, 4096, user, 0},
                                              {0, 4096, kLastAddress, 0},
                                              {0, 4096, user, kLastAddress},
                                              {0, kMiB + 1, user, 0},
                                              {0, kMiB, user, 1},
                                              {0, 4096, user, kMiB}})
    EXPECT_FALSE(GuestRegion::map(wrong, ram.duplicate())) << wrong.size << " at " << wrong.guest_address;
}

TEST(GuestRegion, OnlyAFileThatCanBeWrittenIsMemory) {
  const test::GuestRam ram{kMiB};
  const protocol::MemoryRegion region{0, 4096, ram.user_address(0), 0};
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  const UniqueFd other{ends[1]};
  EXPECT_FALSE(GuestRegion::map(region, UniqueFd{ends[0]}));
  EXPECT_FALSE(GuestRegion::map(region, UniqueFd{::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC)}));
  EXPECT_FALSE(GuestRegion::map(region, UniqueFd{::open("/dev/null", O_RDWR | O_CLOEXEC)}));
  EXPECT_FALSE(GuestRegion::map(region, UniqueFd{}));
  const std::string itself = "/proc/self/fd/" + std::to_string(ram.file());
  EXPECT_FALSE(GuestRegion::map(region, UniqueFd{::open(itself.c_str(), O_RDONLY | O_CLOEXEC)}));
  EXPECT_FALSE(GuestRegion::map(region, UniqueFd{::open(itself.c_str(), O_PATH | O_CLOEXEC)}));
}

TEST(GuestRegion, AFileThatIsCutEndsNobody) {
  const test::GuestRam ram{kMiB};
  const auto region = region_of(ram, 0, kMiB, 0);
  *ram.at(5) = std::byte{5};
  ASSERT_EQ(region->bytes()[5], std::byte{5});
  ASSERT_EQ(::ftruncate(ram.file(), 0), 0);
  EXPECT_TRUE(all_zero({region->bytes(), kMiB}));
  region->bytes()[kMiB - 1] = std::byte{1};
  EXPECT_EQ(region->bytes()[kMiB - 1], std::byte{1});
}

TEST(GuestRegion, OtherMappingsThatAreCutEndTheProcess) {
  const test::GuestRam ram{kMiB};
  const auto guarded = region_of(ram, 0, 4096, 0);  // the handler is there
  EXPECT_EXIT(
      {
        (void)!::ftruncate(ram.file(), 0);
        *ram.at(kMiB - 1) = std::byte{1};
      },
      testing::KilledBySignal(SIGBUS), "");
}

class GuestMemoryTest : public testing::Test {
 protected:
  /// Two pieces that touch, at 1 and 2 MiB, and one at 8 MiB.
  void SetUp() override {
    for (const auto& [guest, offset] : {std::pair{2 * kMiB, kMiB}, {kMiB, std::uint64_t{0}}, {8 * kMiB, 2 * kMiB}}) {
      auto more = memory_.with(region_of(ram_, guest, kMiB, offset));
      ASSERT_TRUE(more);
      memory_ = *more;
    }
  }
  std::vector<std::size_t> sizes_at(std::uint64_t address, std::uint64_t size) const {
    std::vector<MutableByteSpan> pieces;
    if (!memory_.find(address, size, pieces)) return {0};
    std::vector<std::size_t> sizes;
    for (const MutableByteSpan piece : pieces) sizes.push_back(piece.size());
    return sizes;
  }
  test::GuestRam ram_;
  GuestMemory memory_;
};

TEST_F(GuestMemoryTest, APlaceMayGoOnInTheNextPiece) {
  using Sizes = std::vector<std::size_t>;
  EXPECT_EQ(sizes_at(kMiB, 10), Sizes{10});
  EXPECT_EQ(sizes_at(kMiB, 2 * kMiB), (Sizes{kMiB, kMiB}));
  EXPECT_EQ(sizes_at(2 * kMiB - 3, 5), (Sizes{3, 2}));
  EXPECT_EQ(sizes_at(9 * kMiB - 1, 1), Sizes{1});
  EXPECT_EQ(sizes_at(5 * kMiB, 0), Sizes{});
}

TEST_F(GuestMemoryTest, APlaceThatIsNotTheGuestsIsNotFound) {
  const std::vector<std::size_t> none{0};
  for (const auto& [address, size] : {std::pair{std::uint64_t{0}, std::uint64_t{1}},
                                      {kMiB - 1, std::uint64_t{2}},
                                      {3 * kMiB - 1, std::uint64_t{2}},
                                      {3 * kMiB, std::uint64_t{1}},
                                      {8 * kMiB, kMiB + 1},
                                      {kMiB, kLastAddress},
                                      {kLastAddress, std::uint64_t{1}},
                                      {kLastAddress, kLastAddress}})
    EXPECT_EQ(sizes_at(address, size), none) << size << " at " << address;
}

TEST_F(GuestMemoryTest, AddressesOfTheFrontEndLieInOnePiece) {
  const std::uint64_t user = ram_.user_address(0);
  ASSERT_NE(memory_.find_user(user, kMiB), nullptr);
  *memory_.find_user(user + kMiB, 1) = std::byte{7};
  EXPECT_EQ(*ram_.at(kMiB), std::byte{7});
  EXPECT_EQ(memory_.find_user(user, kMiB + 1), nullptr);
  EXPECT_EQ(memory_.find_user(user - 1, 1), nullptr);
  EXPECT_EQ(memory_.find_user(user, kLastAddress), nullptr);
  EXPECT_EQ(memory_.find_user(kLastAddress, 2), nullptr);
}

TEST_F(GuestMemoryTest, PiecesDoNotOverlapAndGoOneByOne) {
  for (const std::uint64_t guest : {kMiB, kMiB + 4096, 2 * kMiB - 4096, 3 * kMiB - 1})
    EXPECT_FALSE(memory_.with(region_of(ram_, guest, 4096, 3 * kMiB))) << guest;
  EXPECT_FALSE(memory_.with(region_of(ram_, 20 * kMiB, 4096, 0)));  // the same addresses of the front-end
  EXPECT_FALSE(memory_.without({kMiB, kMiB + 1, ram_.user_address(0), 0}));
  const auto less = memory_.without({kMiB, kMiB, ram_.user_address(0), 0});
  ASSERT_TRUE(less);
  EXPECT_EQ(less->regions(), 2u);
  EXPECT_EQ(memory_.regions(), 3u);
}

}  // namespace
}  // namespace stellarium::virtiofsd
