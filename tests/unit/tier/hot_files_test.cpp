// The life of hot files: who keeps them, when they go, when they are trusted. (docs/tiers.md)
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>

#include "base/unique_fd.h"
#include "tier/hot_mount.h"
#include "tier/tier.h"
#include "unit/tier/tier_fixture.h"

namespace stellarium::tier {
namespace {

using testing::eventually;
using testing::make_hot;
using testing::random_bytes;
using testing::read_all;
using testing::read_fd;
using testing::same_bytes;

class HotFilesTest : public testing::TierFixture {
 protected:
  ContentRef add(std::uint64_t seed, std::size_t size = 60'000) { return store_.add(random_bytes(seed, size)); }
  ContentRef filled(std::uint64_t seed, std::size_t size = 60'000) {
    const ContentRef content = add(seed, size);
    EXPECT_TRUE(eventually([&] { return make_hot(*tier_, content).has_value(); }));
    return content;
  }
};

TEST_F(HotFilesTest, TheBudgetIsKept) {
  open(/*hot_budget=*/1u << 20);
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    filled(seed);
    EXPECT_LE(tier_->stats().hot_bytes, 1u << 20);
  }
  EXPECT_GT(tier_->stats().evictions, 30u);
}

TEST_F(HotFilesTest, AContentLargerThanTheBudgetIsReadWithoutAHotFile) {
  open(/*hot_budget=*/1u << 20);
  const auto bytes = random_bytes(1, 3u << 20);
  const auto content = store_.add(bytes);
  EXPECT_EQ(make_hot(*tier_, content).error().code, Errc::out_of_space);
  EXPECT_TRUE(same_bytes(read_all(*tier_, content, 50'000).value(), bytes));
}

TEST_F(HotFilesTest, AFileInUseIsNotEvicted) {
  open(/*hot_budget=*/256u << 10);
  const auto content = add(1);
  const auto held = make_hot(*tier_, content);
  for (std::uint64_t seed = 2; seed < 20; ++seed) filled(seed);
  EXPECT_EQ(tier_->find_hot(content), *held);
  EXPECT_EQ(tier_->evict(content.id), 0u);
}

TEST_F(HotFilesTest, WhenAllRoomIsInUseAFillFails) {
  open(/*hot_budget=*/200u << 10);
  std::vector<HotFilePtr> held;
  for (std::uint64_t seed = 0; seed < 3; ++seed) held.push_back(make_hot(*tier_, add(seed)).value());
  EXPECT_EQ(make_hot(*tier_, add(9)).error().code, Errc::out_of_space);
  held.clear();
  EXPECT_TRUE(eventually([&] { return make_hot(*tier_, add(9)).has_value(); }));
}

TEST_F(HotFilesTest, AFileThatAnotherProcessCouldHaveOpenIsNotEvicted) {
  open();
  const auto content = filled(1);
  {
    const UniqueFd stranger{::open(file_of(content).c_str(), O_RDONLY | O_CLOEXEC)};
    EXPECT_EQ(tier_->evict(content.id), 0u);
  }
  EXPECT_TRUE(eventually([&] { return tier_->evict(content.id) > 0; }));
  EXPECT_EQ(tier_->find_hot(content), nullptr);
}

TEST_F(HotFilesTest, AMappedFileIsNotEvicted) {
  open();
  const auto content = filled(1);
  void* mapped = nullptr;
  {
    const UniqueFd stranger{::open(file_of(content).c_str(), O_RDONLY | O_CLOEXEC)};
    mapped = ::mmap(nullptr, 4096, PROT_READ, MAP_SHARED, stranger.get(), 0);
  }
  EXPECT_EQ(tier_->evict(content.id), 0u);
  ::munmap(mapped, 4096);
  EXPECT_TRUE(eventually([&] { return tier_->evict(content.id) > 0; }));
}

TEST_F(HotFilesTest, TheReleaseHookDecidesAboutFilesItKeepsBusy) {
  open();
  const auto content = add(1);
  HotFilePtr cached = make_hot(*tier_, content).value();  // as a transport does that keeps backing ids
  bool may_go = false;
  tier_->set_release_hook([&](const cas::ContentId& id) {
    EXPECT_EQ(id, content.id);
    if (may_go) cached.reset();
    return may_go;
  });
  EXPECT_EQ(tier_->evict(std::nullopt), 0u);
  may_go = true;
  EXPECT_TRUE(eventually([&] { return tier_->evict(std::nullopt) > 0; }));
  tier_->set_release_hook(nullptr);
}

TEST_F(HotFilesTest, APinnedFileStays) {
  open(/*hot_budget=*/256u << 10);
  const auto content = add(1);
  ASSERT_TRUE(tier_->pin(content));
  for (std::uint64_t seed = 2; seed < 20; ++seed) filled(seed);
  tier_->evict(std::nullopt);
  EXPECT_NE(tier_->find_hot(content), nullptr);
  EXPECT_EQ(tier_->stats().pinned_files, 1u);
  tier_->unpin(content.id);
  EXPECT_TRUE(eventually([&] { return tier_->evict(std::nullopt) > 0; }));
  EXPECT_EQ(tier_->find_hot(content), nullptr);
}

TEST_F(HotFilesTest, PinsOutliveTheProcessAndTheFile) {
  open();
  const auto content = add(1);
  ASSERT_TRUE(tier_->pin(content));
  tier_.reset();
  std::filesystem::remove(file_of(content));
  open();
  while (tier_->stats().pinned_files == 0) std::this_thread::yield();  // filled again by itself
  EXPECT_EQ(tier_->evict(std::nullopt), 0u);
}

TEST_F(HotFilesTest, ADamagedPinFileCostsOnlyTheDamagedPins) {
  open();
  const auto first = add(1), second = add(2);
  ASSERT_TRUE(tier_->pin(first));
  ASSERT_TRUE(tier_->pin(second));
  tier_.reset();
  std::ofstream{hot_dir() / "pins", std::ios::app} << "nonsense\n"
                                                   << std::string(64, 'g') << " 5\n"
                                                   << std::string(70, '0') << '\n';
  open();
  EXPECT_EQ(tier_->stats().pinned_files, 2u);
}

TEST_F(HotFilesTest, AfterACrashOfTheMachineAFileIsHashedBeforeItIsUsed) {
  open();
  const auto bytes = random_bytes(1, 3'000'000);
  const auto good = store_.add(bytes);
  ASSERT_TRUE(make_hot(*tier_, good));
  const auto bad = filled(2);
  tier_.reset();
  // What a file looks like whose data never reached the disk: the right size, and zeros.
  std::filesystem::permissions(file_of(bad), std::filesystem::perms::owner_write, std::filesystem::perm_options::add);
  std::ofstream{file_of(bad), std::ios::binary} << std::string(60'000, '\0');
  pretend_another_boot();

  open();
  EXPECT_EQ(tier_->find_hot(good), nullptr);
  EXPECT_EQ(tier_->find_hot(bad), nullptr);
  store_.failing = true;
  const auto checked = make_hot(*tier_, good);  // needs no source
  ASSERT_TRUE(checked) << to_string(checked.error());
  EXPECT_TRUE(same_bytes(read_fd((*checked)->fd(), bytes.size()), bytes));
  store_.failing = false;
  const auto refilled = make_hot(*tier_, bad);
  ASSERT_TRUE(refilled);
  EXPECT_TRUE(same_bytes(read_fd((*refilled)->fd(), 60'000), random_bytes(2, 60'000)));
}

TEST_F(HotFilesTest, TwoCrashesInARowLoseNoFile) {
  open();
  const auto first = filled(1);
  tier_.reset();
  pretend_another_boot();
  open();
  const auto second = filled(2);
  tier_.reset();
  pretend_another_boot();
  open();
  store_.failing = true;
  EXPECT_TRUE(make_hot(*tier_, first));
  EXPECT_TRUE(make_hot(*tier_, second));
}

TEST_F(HotFilesTest, AfterACleanStopFilesAreTrustedByAnyBoot) {
  open();
  const auto content = filled(1);
  tier_.reset();
  std::ifstream trust{hot_dir() / "trust"};
  std::string text{std::istreambuf_iterator<char>{trust}, {}};
  ASSERT_NE(text.find("state synced"), std::string::npos);
  text.replace(text.find("boot ") + 5, 8, "00000000");
  std::ofstream{hot_dir() / "trust"} << text;
  open();
  EXPECT_NE(tier_->find_hot(content), nullptr);
}

TEST_F(HotFilesTest, WithoutTheTrustFileNothingIsTrusted) {
  open();
  const auto content = filled(1);
  tier_.reset();
  std::filesystem::remove(hot_dir() / "trust");
  open();
  EXPECT_EQ(tier_->find_hot(content), nullptr);
  EXPECT_TRUE(make_hot(*tier_, content));
}

TEST_F(HotFilesTest, ScrubFindsAFlippedBitAndTheNextUseRepairsIt) {
  open();
  const auto bytes = random_bytes(1, 3'000'000);
  const auto damaged = store_.add(bytes);
  ASSERT_TRUE(make_hot(*tier_, damaged));
  filled(2);
  flip_a_bit(file_of(damaged), 1'234'567);

  const auto report = tier_->scrub(nullptr);
  ASSERT_TRUE(report);
  EXPECT_EQ(report->files, 2u);
  ASSERT_EQ(report->damaged.size(), 1u);
  EXPECT_NE(report->damaged[0].find(damaged.id.hex()), std::string::npos);
  EXPECT_EQ(tier_->find_hot(damaged), nullptr);
  const auto repaired = make_hot(*tier_, damaged);
  ASSERT_TRUE(repaired);
  EXPECT_TRUE(same_bytes(read_fd((*repaired)->fd(), bytes.size()), bytes));
}

TEST_F(HotFilesTest, ScrubNeverRewritesAFileUnderItsReaders) {
  open();
  const auto bytes = random_bytes(1, 60'000);
  const auto content = store_.add(bytes);
  const HotFilePtr before = make_hot(*tier_, content).value();
  flip_a_bit(file_of(content), 100);
  ASSERT_EQ(tier_->scrub(nullptr)->damaged.size(), 1u);
  const HotFilePtr after = make_hot(*tier_, content).value();
  EXPECT_NE(read_fd(before->fd(), bytes.size()), bytes);
  EXPECT_TRUE(same_bytes(read_fd(after->fd(), bytes.size()), bytes));
}

TEST_F(HotFilesTest, ScrubStopsWhenAsked) {
  open();
  filled(1);
  const auto report = tier_->scrub([](std::uint64_t, std::uint64_t) { return false; });
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, Errc::cancelled);
}

TEST_F(HotFilesTest, AHotFileCannotBeOpenedForWritingThroughItsOwnPath) {
  open();
  const auto content = add(1);
  const auto file = make_hot(*tier_, content);
  ASSERT_TRUE(file);
  const std::string self = "/proc/self/fd/" + std::to_string((*file)->fd());
  const UniqueFd writable{::open(self.c_str(), O_RDWR | O_CLOEXEC)};  // what passthrough does with an O_RDWR open
  EXPECT_FALSE(writable);
  if (::geteuid() == 0) {
    EXPECT_EQ(errno, EROFS);
  }
}

TEST_F(HotFilesTest, ADeletedHotFolderEntryIsFilledAgain) {
  open();
  const auto content = filled(1);
  std::filesystem::remove(file_of(content));
  EXPECT_TRUE(eventually([&] { return tier_->find_hot(content) == nullptr; }));  // who has it open may go on using it
  EXPECT_TRUE(make_hot(*tier_, content));
  EXPECT_TRUE(std::filesystem::exists(file_of(content)));
}

TEST_F(HotFilesTest, ForeignFilesInTheFolderAreLeftAlone) {
  open();
  std::ofstream{hot_dir() / "files" / "README"} << "mine";
  open();
  EXPECT_EQ(tier_->stats().hot_files, 0u);
  EXPECT_TRUE(std::filesystem::exists(hot_dir() / "files" / "README"));
}

}  // namespace
}  // namespace stellarium::tier
