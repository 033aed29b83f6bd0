#include "fs/clone_quota.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>

#include "fs/clone_bodies.h"
#include "fs/staged_first.h"
#include "support/fake_tier.h"
#include "support/fault_io.h"
#include "support/image_store.h"
#include "support/written_tree.h"

namespace stellarium::fs {
namespace {

using test::must;
using test::refusal;

constexpr Ino kQuotaHello = 6, kQuotaEmpty = 7;
constexpr std::uint64_t kBlock = 4096, kNode = OwnRecords::kNode;

class CloneQuotaTest : public testing::Test {
 protected:
  CloneQuotaTest() {
    tier_.add("hello");
    cas::Database::Batch batch;
    put_layer(batch, 1, {.state = LayerRecord::State::sealed, .tree = 1, .files = test::WrittenTree::kFirstIno - 1});
    tree_.write(std::move(batch));
    open();
  }
  void open() {
    quota_ = std::make_shared<CloneQuota>(
        CloneQuota::Parts{.database = tree_.database(), .staging = *staging_, .headroom = &headroom_, .tree = *tree_});
    bodies_ = std::make_unique<CloneBodies>(*tree_, *staging_, tier_, tree_.database(), quota_);
  }
  void limit(std::uint64_t blocks) { must(quota_->set(QuotaRecord{blocks * kBlock, 0})); }
  std::uint64_t used() { return must(quota_->usage()).used; }
  /// As a new server would count.
  std::uint64_t counted_anew() {
    return must(must(OwnRecords::open(tree_.database(), tree_->reader().layers())).used(*staging_));
  }
  Result<std::size_t> write(Ino ino, std::uint64_t size, std::uint64_t offset = 0) {
    const auto file = bodies_->writable(ino);
    if (!file) return fail(file.error());
    return quota_->write(**file, as_bytes(std::string(size, 'x')), offset);
  }
  Ino make(const std::string& name) {
    CloneQuota::Weighing weighing{quota_.get(), {}};
    const Ino ino = must(tree_->make(kRootIno, name, {.mode = S_IFREG | 0644}, {})).ino;
    weighing.add_made(ino);
    return ino;
  }

  test::TempDir dir_;
  test::FakeTier tier_{dir_.path()};
  test::FaultIo io_;
  std::uint64_t free_ = 1u << 30;
  Headroom headroom_{"/", [this] { return Headroom::Space{1u << 30, free_}; }};
  std::unique_ptr<Staging> staging_ = must(Staging::open(io_, dir_ / "staged"));
  test::WrittenTree tree_;
  StagedFirst staged_first_{tree_.database(), *staging_};
  std::shared_ptr<CloneQuota> quota_;
  std::unique_ptr<CloneBodies> bodies_;
};

TEST_F(CloneQuotaTest, WithoutOneEverythingIsWritten) {
  EXPECT_FALSE(quota_->limited());
  EXPECT_EQ(must(write(kQuotaEmpty, 100 * kBlock)), 100 * kBlock);
  EXPECT_EQ(must(quota_->usage()).limit, 0u);
  EXPECT_TRUE(quota_->may_pass_through());
}

TEST_F(CloneQuotaTest, AWriteIsCutAtTheLimitAndTheNextOneIsRefused) {
  limit(10);
  EXPECT_FALSE(quota_->may_pass_through()) << "nobody would see what is written";
  EXPECT_EQ(must(write(kQuotaEmpty, 7 * kBlock)), 7 * kBlock);
  EXPECT_EQ(must(write(kQuotaEmpty, 7 * kBlock, 7 * kBlock)), 3 * kBlock);
  EXPECT_EQ(refusal(write(kQuotaEmpty, 1, 10 * kBlock)), EDQUOT);
  EXPECT_EQ(must(write(kQuotaEmpty, 10 * kBlock)), 10 * kBlock) << "over what is there";
  EXPECT_EQ(used(), 10 * kBlock);
  EXPECT_EQ(counted_anew(), used());
}

TEST_F(CloneQuotaTest, WhatIsCutOffOrPunchedIsFree) {
  limit(10);
  EXPECT_EQ(must(write(kQuotaEmpty, 10 * kBlock)), 10 * kBlock);
  must(bodies_->truncate(kQuotaEmpty, 4 * kBlock));
  EXPECT_EQ(used(), 4 * kBlock);
  const auto file = must(bodies_->writable(kQuotaEmpty));
  must(quota_->allocate(*file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 2 * kBlock));
  EXPECT_EQ(used(), 2 * kBlock);
  must(bodies_->truncate(kQuotaEmpty, 1000 * kBlock));
  EXPECT_EQ(used(), 2 * kBlock) << "a hole takes nothing";
  EXPECT_EQ(refusal(quota_->allocate(*file, 0, 0, 11 * kBlock)), EDQUOT);
  EXPECT_EQ(used(), 2 * kBlock);
  must(quota_->allocate(*file, 0, 0, 10 * kBlock));
  EXPECT_EQ(used(), 10 * kBlock);
  EXPECT_EQ(must(write(kQuotaEmpty, 10 * kBlock)), 10 * kBlock) << "it was reserved";
}

TEST_F(CloneQuotaTest, ACopyNeedsRoomForAllOfIt) {
  limit(2);
  EXPECT_EQ(must(write(kQuotaEmpty, 2 * kBlock)), 2 * kBlock);
  const Inode before = *must(tree_->inode(kQuotaHello));
  EXPECT_EQ(refusal(bodies_->writable(kQuotaHello)), EDQUOT);
  EXPECT_EQ(*must(tree_->inode(kQuotaHello)), before);
  EXPECT_EQ(must(staging_->list()).size(), 1u);
  limit(3);
  EXPECT_TRUE(bodies_->writable(kQuotaHello));
  EXPECT_EQ(used(), 3 * kBlock);
}

TEST_F(CloneQuotaTest, AFileThatGoesGivesItsRoomBack) {
  limit(10);
  EXPECT_EQ(must(write(kQuotaEmpty, 10 * kBlock)), 10 * kBlock);
  bodies_->drop(kQuotaEmpty, *must(tree_->inode(kQuotaEmpty)));
  EXPECT_EQ(used(), 0u);
  bodies_->drop(kQuotaEmpty, *must(tree_->inode(kQuotaEmpty)));
  EXPECT_EQ(used(), 0u) << "twice";
}

TEST_F(CloneQuotaTest, NamesAndAttributesWeigh) {
  limit(10);
  const Ino made = make("made");
  EXPECT_EQ(used(), kNode);
  {
    const CloneQuota::Weighing weighing{quota_.get(), {made}};
    must(tree_->link(made, kRootIno, "again", {}));
  }
  EXPECT_EQ(used(), 2 * kNode);
  {
    const CloneQuota::Weighing weighing{quota_.get(), {made}};
    must(tree_->set_xattr(made, "user.a", std::string(1000, 'v'), 0, {}));
  }
  EXPECT_EQ(used(), 2 * kNode + 1006);
  EXPECT_EQ(counted_anew(), used());
  {
    const CloneQuota::Weighing weighing{quota_.get(), {made}};
    must(tree_->remove_xattr(made, "user.a", {}));
    must(tree_->unlink(kRootIno, "again", {}));
    must(tree_->unlink(kRootIno, "made", {}));
  }
  EXPECT_EQ(used(), kNode) << "it may be open";
  {
    const CloneQuota::Weighing weighing{quota_.get(), {made}};
    must(tree_->forget(made));
  }
  EXPECT_EQ(used(), 0u);
}

TEST_F(CloneQuotaTest, WhatTheImageHasWeighsNothing) {
  limit(10);
  for (const Ino ino : {Ino{2}, Ino{4}, Ino{5}, kQuotaHello}) {
    const CloneQuota::Weighing weighing{quota_.get(), {ino}};
    must(tree_->change(ino,
                       [](Inode& inode) -> Result<void> {
                         inode.uid = 1000;
                         return {};
                       },
                       {}));
  }
  EXPECT_EQ(used(), 0u) << "chown -R";
  EXPECT_EQ(counted_anew(), 0u);
  {
    const CloneQuota::Weighing weighing{quota_.get(), {2}};
    must(tree_->set_xattr(2, "user.label", "other", 0, {}));
  }
  EXPECT_EQ(used(), 15u);
  EXPECT_EQ(counted_anew(), 15u);
}

TEST_F(CloneQuotaTest, NothingIsMadeWithoutRoomForItsRecord) {
  limit(1);
  EXPECT_TRUE(quota_->admit(kBlock));
  EXPECT_EQ(refusal(quota_->admit(kBlock + 1)), EDQUOT);
  for (int i = 0; i < 8; ++i) make("n" + std::to_string(i));
  EXPECT_EQ(refusal(quota_->admit(1)), EDQUOT);
}

TEST_F(CloneQuotaTest, AChangeCountsAtOnce) {
  EXPECT_EQ(must(write(kQuotaEmpty, 10 * kBlock)), 10 * kBlock);
  limit(5);
  EXPECT_EQ(used(), 10 * kBlock) << "what was written before";
  EXPECT_EQ(refusal(write(kQuotaEmpty, 1, 20 * kBlock)), EDQUOT);
  limit(12);
  EXPECT_EQ(must(write(kQuotaEmpty, kBlock, 20 * kBlock)), kBlock);
  must(quota_->set(std::nullopt));
  EXPECT_EQ(must(write(kQuotaEmpty, 50 * kBlock)), 50 * kBlock);
}

TEST_F(CloneQuotaTest, ASnapshotCountsForNobody) {
  limit(10);
  EXPECT_EQ(must(write(kQuotaEmpty, 10 * kBlock)), 10 * kBlock);
  make("made");
  must(tree_->freeze(
      tree_->reader().layer() + 1, [] { return std::vector<WritableTree::Entry>{}; },
      [&](cas::Database::Batch&& batch, Ino next_ino) {
        LayerRecord record = must(read_layer(tree_.database(), tree_->reader().layer())).value();
        const LayerId below = tree_->reader().layer();
        record.state = LayerRecord::State::frozen;
        record.next_ino = next_ino;
        put_layer(batch, below, record);
        record.state = LayerRecord::State::writable;
        record.parent = below;
        put_layer(batch, below + 1, record);
        return tree_.database().write(std::move(batch), cas::Database::Sync::no);
      }));
  EXPECT_EQ(used(), 0u);
  EXPECT_EQ(counted_anew(), 0u);
  EXPECT_EQ(must(write(kQuotaHello, kBlock)), kBlock);
  EXPECT_EQ(used(), kBlock);
  EXPECT_EQ(refusal(write(kQuotaEmpty, kBlock)), EDQUOT) << "ten blocks would have to be copied";
}

TEST_F(CloneQuotaTest, AtTheMarkOfTheHostOnlyWhatIsThereIsWritten) {
  EXPECT_EQ(must(write(kQuotaEmpty, 4 * kBlock)), 4 * kBlock);
  free_ = 1u << 20;
  EXPECT_EQ(refusal(quota_->admit(1u << 30)), ENOSPC) << "so much that the host is asked";
  EXPECT_EQ(refusal(write(kQuotaEmpty, 8u << 20, kBlock)), ENOSPC);
  EXPECT_EQ(refusal(write(kQuotaEmpty, 1, 4 * kBlock)), ENOSPC);
  EXPECT_EQ(must(write(kQuotaEmpty, 4 * kBlock)), 4 * kBlock);
  EXPECT_EQ(refusal(bodies_->writable(kQuotaHello)), ENOSPC);
  EXPECT_EQ(refusal(quota_->admit(1)), ENOSPC);
  EXPECT_FALSE(quota_->may_pass_through());
}

}  // namespace
}  // namespace stellarium::fs
