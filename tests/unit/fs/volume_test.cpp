#include "fs/volume.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <random>
#include <thread>

#include "base/boot_id.h"
#include "fs/exact_holes.h"
#include "fs/volumes.h"
#include "support/sanitized.h"
#include "support/volume_fixture.h"

namespace stellarium::fs {
namespace {

using test::content;
using test::must;
using test::random_text;
using test::write;

constexpr std::uint64_t kSize = 16 * kVolumeBlock + 5000;  // ends inside a place

class VolumeTest : public test::VolumeFixture {
 protected:
  std::shared_ptr<Volume> make(const std::string& name, std::uint64_t size = kSize) {
    return VolumeFixture::make(name, size);
  }
};

TEST_F(VolumeTest, BeginsAsZerosThatTakeNoRoom) {
  const auto volume = make("disk");
  EXPECT_EQ(content(*volume), std::string(kSize, '\0'));
  const auto status = must(volume->status());
  EXPECT_EQ(status.size, kSize);
  EXPECT_EQ(status.allocated, 0u);
  EXPECT_EQ(must(volume->next_data(0)), kSize);
  EXPECT_EQ(must(volume->next_hole(0)), 0u);
}

TEST_F(VolumeTest, ReadsWhatWasWrittenStagedAndSettledAndAfterARestart) {
  auto volume = make("disk");
  std::string model(kSize, '\0');
  write(*volume, 70'000, "in the middle");
  model.replace(70'000, 13, "in the middle");
  EXPECT_EQ(content(*volume), model);
  must(volume->settle({}));
  EXPECT_EQ(content(*volume), model);
  write(*volume, 70'003, "IT");
  model.replace(70'003, 2, "IT");
  EXPECT_EQ(content(*volume), model) << "the other bytes of the place come from the block below";
  must(volume->sync());
  volume.reset();
  reopen();
  EXPECT_EQ(content(*must(volumes_->open("disk"))), model);
}

TEST_F(VolumeTest, EndsWhereItEnds) {
  const auto volume = make("disk");
  EXPECT_EQ(must(volume->write(kSize - 2, as_bytes("four"))), 2u);
  EXPECT_EQ(volume->write(kSize, as_bytes("x")).error().sys_errno, ENOSPC);
  EXPECT_EQ(must(volume->read(kSize, {})), 0u);
  EXPECT_EQ(content(*volume, kSize - 3), (std::string{"\0fo", 3}));
}

TEST_F(VolumeTest, SettlingFreesTheStagedFileAndKeepsTheTime) {
  const auto volume = make("disk");
  write(*volume, 0, std::string(5 * kVolumeBlock, 'x'));
  const auto before = must(volume->status());
  EXPECT_GE(before.allocated, 5 * kVolumeBlock);
  must(volume->settle({}));
  const auto after = must(volume->status());
  EXPECT_EQ(after.allocated, 5 * kVolumeBlock);
  EXPECT_EQ(must(staging_->status(volume->record().staged)).st_blocks, 0);
  EXPECT_EQ(must(volume->next_data(0)), 0u);
  EXPECT_EQ(must(volume->next_hole(0)), 5 * kVolumeBlock);
  EXPECT_EQ(must(volume->next_data(5 * kVolumeBlock)), kSize);
}

TEST_F(VolumeTest, ZerosFreeRoomAndStayZeros) {
  auto volume = make("disk");
  write(*volume, 0, std::string(kSize, 'x'));
  must(volume->settle({}));
  EXPECT_EQ(must(volume->status()).allocated, kSize);
  must(volume->zero(kVolumeBlock - 10, 3 * kVolumeBlock + 20));
  std::string model(kSize, 'x');
  model.replace(kVolumeBlock - 10, 3 * kVolumeBlock + 20, std::string(3 * kVolumeBlock + 20, '\0'));
  EXPECT_EQ(content(*volume), model);
  EXPECT_LE(must(volume->status()).allocated, kSize - 3 * kVolumeBlock + 3 * kPlace);
  must(volume->zero(0, UINT64_MAX));
  EXPECT_EQ(content(*volume), std::string(kSize, '\0'));
  EXPECT_EQ(must(volume->status()).allocated, 0u);
  volume.reset();
  reopen();
  EXPECT_EQ(content(*must(volumes_->open("disk"))), std::string(kSize, '\0'));
}

TEST_F(VolumeTest, ACloneIsEqualAndIndependent) {
  const auto disk = make("disk");
  write(*disk, 0, "both");
  must(volumes_->clone("disk", "copy", {}));
  const auto copy = must(volumes_->open("copy"));
  EXPECT_EQ(content(*copy), content(*disk));
  EXPECT_EQ(must(copy->status()).allocated, kVolumeBlock);
  write(*disk, 0, "disk");
  write(*copy, 4, "copy");
  must(copy->zero(kVolumeBlock, kVolumeBlock));
  for (int settled = 0; settled < 2; ++settled) {
    EXPECT_EQ(content(*disk, 0, 8), (std::string{"disk\0\0\0\0", 8}));
    EXPECT_EQ(content(*copy, 0, 8), "bothcopy");
    must(disk->settle({}));
    must(copy->settle({}));
  }
}

TEST_F(VolumeTest, AChainOfClonesStaysShortAndRight) {
  std::string model(kSize, '\0'), name = "v0";
  make(name);
  for (int i = 0; i < 30; ++i) {
    const auto volume = must(volumes_->open(name));
    const std::string text = "generation " + std::to_string(i);
    write(*volume, static_cast<std::uint64_t>(i % 13) * kVolumeBlock, text);
    model.replace(static_cast<std::size_t>(i % 13) * kVolumeBlock, text.size(), text);
    const std::string next = "v" + std::to_string(i + 1);
    must(volumes_->clone(name, next, {}));
    name = next;
  }
  EXPECT_EQ(content(*must(volumes_->open(name))), model);
  const auto map = must(BlockMap::open(*store_.database, must(volumes_->open(name))->record().map));
  EXPECT_LE(map.chain().size(), Volumes::kFlattenAt + 1);
  must(volumes_->sweep());
  EXPECT_EQ(content(*must(volumes_->open(name))), model);
  EXPECT_EQ(content(*must(volumes_->open("v1")), 0, 12), "generation 0");
}

TEST_F(VolumeTest, CloningAgainAndAgainCostsWhatWasWrittenBetween) {
  constexpr std::uint64_t kBlocks = 400;
  std::mt19937_64 random{8};
  const auto volume = make("disk", kBlocks * kVolumeBlock);
  std::string model;
  for (std::uint64_t block = 0; block < kBlocks; ++block)
    model += random_text(random, 64) + std::string(kVolumeBlock - 64, 'x');
  write(*volume, 0, model);
  for (int i = 0; i < 50; ++i) {
    const std::uint64_t at = random() % (model.size() - 10);
    write(*volume, at, "changed");
    model.replace(at, 7, "changed");
    must(volumes_->clone("disk", "clone" + std::to_string(i), {}));
  }
  std::uint64_t extents = 0;
  must(visit_volume_contents(*store_.database, [&](const auto&) { ++extents; }));
  EXPECT_LT(extents, 2 * kBlocks) << "all clones are there, so no map was removed";
  EXPECT_TRUE(content(*volume, 0, model.size()) == model);
  EXPECT_TRUE(content(*must(volumes_->open("clone49")), 0, model.size()) == model);
}

TEST_F(VolumeTest, CloningTwiceWithoutAWriteMakesNoLongerChain) {
  write(*make("disk"), 0, "x");
  for (int i = 0; i < 5; ++i) must(volumes_->clone("disk", "copy" + std::to_string(i), {}));
  const auto map = must(BlockMap::open(*store_.database, must(volumes_->open("disk"))->record().map));
  EXPECT_EQ(map.chain().size(), 2u);
}

TEST_F(VolumeTest, GcKeepsWhatVolumesNeedAndFreesWhatNoneDoes) {
  std::mt19937_64 random{7};
  const std::string text = random_text(random, kVolumeBlock), other = random_text(random, kVolumeBlock);
  {
    const auto disk = make("disk");
    write(*disk, 0, text);
    must(disk->settle({}));
    must(volumes_->clone("disk", "copy", {}));
    write(*disk, 0, other);
    must(disk->settle({}));
  }
  must(volumes_->remove("disk"));
  collect();
  tier_->evict(std::nullopt);
  reopen();
  EXPECT_EQ(content(*must(volumes_->open("copy")), 0, kVolumeBlock), text);
  EXPECT_TRUE(must(store_.contents->has_chunk(cas::hash_of(as_bytes(text)))));
  EXPECT_FALSE(must(store_.contents->has_chunk(cas::hash_of(as_bytes(other)))));
  must(volumes_->remove("copy"));
  collect();
  EXPECT_FALSE(must(store_.contents->has_chunk(cas::hash_of(as_bytes(text)))));
}

TEST_F(VolumeTest, GrowsWithZerosButDoesNotShrink) {
  auto disk = make("disk");
  write(*disk, kSize - 3, "end");
  must(disk->settle({}));
  std::string model(2 * kSize, '\0');
  model.replace(kSize - 3, 3, "end");
  must(disk->grow(2 * kSize));
  EXPECT_TRUE(content(*disk, 0, model.size()) == model);
  disk.reset();
  reopen();
  disk = must(volumes_->open("disk"));
  EXPECT_TRUE(content(*disk, 0, model.size()) == model);
  EXPECT_EQ(disk->grow(kSize).error().code, Errc::invalid_argument);
  const auto session = store_.contents->begin_session();
  const TinyVol manifest = must(disk->manifest(*session, {}));
  EXPECT_EQ(manifest.size, 2 * kSize);
  ASSERT_EQ(manifest.blocks.size(), 1u);
  EXPECT_EQ(decode_tinyvol(encode_tinyvol(manifest)), manifest);
  EXPECT_TRUE(content(*disk, 0, model.size()) == model);
}

TEST_F(VolumeTest, NamesAreTakenFreeOrImpossible) {
  make("disk");
  EXPECT_EQ(volumes_->create("disk", 1, {}).error().code, Errc::exists);
  EXPECT_EQ(volumes_->create("../x", 1, {}).error().code, Errc::invalid_argument);
  EXPECT_EQ(volumes_->create("x:y", 1, {}).error().code, Errc::invalid_argument);
  EXPECT_EQ(volumes_->create("x", 0, {}).error().code, Errc::invalid_argument);
  EXPECT_EQ(volumes_->create("x", kMaxVolumeSize + 1, {}).error().code, Errc::invalid_argument);
  EXPECT_EQ(volumes_->open("nothing").error().code, Errc::not_found);
  EXPECT_EQ(volumes_->clone("nothing", "x", {}).error().code, Errc::not_found);
  EXPECT_EQ(volumes_->remove("nothing").error().code, Errc::not_found);
  EXPECT_EQ(must(volumes_->list()).size(), 1u);
}

TEST_F(VolumeTest, OneThatIsOpenIsNotRemoved) {
  auto disk = make("disk");
  EXPECT_EQ(volumes_->remove("disk").error().code, Errc::busy);
  const std::uint64_t number = disk->number();
  disk.reset();
  must(volumes_->remove("disk"));
  EXPECT_EQ(volumes_->open(number).error().code, Errc::not_found);
}

TEST_F(VolumeTest, WhoseStagedFileIsLostIsRefusedNotShownAsItWas) {
  auto disk = make("disk");
  write(*disk, 0, "x");
  const StagedId staged = disk->record().staged;
  disk.reset();
  must(staging_->remove(staged));
  EXPECT_EQ(volumes_->open("disk").error().code, Errc::corrupt);
}

/// As the host finds it when it starts after a power failure: blocks for a write whose bytes did not reach the disk. A
/// read beside them brings their zeros into the page cache, and then the hole map takes them for data.
TEST_F(VolumeTest, WhatThePowerLeftUnwrittenIsNotThere) {
  auto disk = make("disk");
  const std::string settled(4 * kVolumeBlock, 's');
  write(*disk, 0, settled);
  must(disk->settle({}));
  const StagedId staged = disk->record().staged;
  disk.reset();
  close();
  {
    const auto staging = must(Staging::open(system_io(), store_.path() / "staged"));
    const int fd = must(staging->find(staged))->fd();
    ASSERT_EQ(::fallocate(fd, 0, kVolumeBlock, 3 * kPlace), 0);
    std::string read(3 * kPlace, '?');
    ASSERT_EQ(::pread(fd, read.data(), read.size(), kVolumeBlock), static_cast<ssize_t>(read.size()));
    ASSERT_EQ(::lseek(fd, 0, SEEK_DATA), kVolumeBlock) << "the case that this is about";
    ASSERT_EQ(::fsetxattr(fd, kExactInBoot, "another", 7, XATTR_REPLACE), 0) << "it is marked when it is made";
  }
  open();
  disk = must(volumes_->open("disk"));
  EXPECT_EQ(content(*disk, 0, settled.size()), settled);
  must(disk->settle({}));
  EXPECT_EQ(content(*disk, 0, settled.size()), settled);
  std::string boot(64, '\0');
  const ssize_t length = ::fgetxattr(must(staging_->find(staged))->fd(), kExactInBoot, boot.data(), boot.size());
  ASSERT_GT(length, 0);
  EXPECT_EQ(boot.substr(0, static_cast<std::size_t>(length)), boot_id(system_io())) << "it is not looked at again";
}

/// Random changes against a string, with settling, clones and restarts in between.
TEST_F(VolumeTest, IsWhatAModelSaysAfterAnyChanges) {
  std::mt19937_64 random{42};
  auto volume = make("v0");
  std::string model(kSize, '\0');
  int clones = 0;
  for (int step = 0; step < test::rounds(1500); ++step) {
    const std::uint64_t offset = random() % kSize;
    const std::uint64_t length =
        std::min<std::uint64_t>(kSize - offset, 1 + random() % (random() % 4 == 0 ? 4 * kVolumeBlock : 9000));
    switch (random() % 16) {
      case 0:
        must(volume->settle({}));
        break;
      case 1:
        if (random() % 8 != 0) break;
        must(volume->sync());
        volume.reset();
        reopen();
        volume = must(volumes_->open("v" + std::to_string(clones)));
        break;
      case 2: {
        if (random() % 6 != 0) break;
        const std::string from = "v" + std::to_string(clones++), name = "v" + std::to_string(clones);
        must(volumes_->clone(from, name, {}));
        volume = must(volumes_->open(name));
        break;
      }
      case 3:
      case 4:
      case 5:
        must(volume->zero(offset, length));
        model.replace(offset, length, std::string(length, '\0'));
        break;
      default: {
        const std::string text = random_text(random, length);
        write(*volume, offset, text);
        model.replace(offset, length, text);
      }
    }
    const std::uint64_t at = random() % kSize;
    ASSERT_EQ(content(*volume, at, 70'000), model.substr(at, 70'000)) << "step " << step;
    if (step % 100 != 99) continue;
    ASSERT_EQ(content(*volume), model) << "step " << step;
    for (std::uint64_t hole = 0; hole < kSize;) {  // what is a hole must be zeros
      hole = must(volume->next_hole(hole));
      const std::uint64_t data = must(volume->next_data(hole));
      ASSERT_EQ(model.substr(hole, data - hole), std::string(data - hole, '\0')) << "step " << step;
      hole = data;
    }
  }
  EXPECT_GT(clones, 3);
}

TEST_F(VolumeTest, WritesDuringSettlingAreNeverLost) {
  const auto volume = make("disk", 512 * kVolumeBlock);
  write(*volume, 0, std::string(512 * kVolumeBlock, 'a'));
  std::thread settler{[&] {
    for (int i = 0; i < 5; ++i) must(volume->settle({}));
  }};
  std::mt19937_64 random{1};
  std::string model(512 * kVolumeBlock, 'a');
  for (int i = 0; i < 2000; ++i) {
    const std::uint64_t offset = random() % (model.size() - 5000);
    const std::string text = random_text(random, 1 + random() % 5000);
    if (random() % 4 == 0) {
      must(volume->zero(offset, text.size() * 20 > model.size() - offset ? 1 : text.size() * 20));
      const std::size_t length = text.size() * 20 > model.size() - offset ? 1 : text.size() * 20;
      model.replace(offset, length, std::string(length, '\0'));
    } else {
      write(*volume, offset, text);
      model.replace(offset, text.size(), text);
    }
    ASSERT_EQ(content(*volume, offset, 6000), model.substr(offset, 6000));
  }
  settler.join();
  must(volume->settle({}));
  ASSERT_TRUE(content(*volume, 0, model.size()) == model);
}

}  // namespace
}  // namespace stellarium::fs
