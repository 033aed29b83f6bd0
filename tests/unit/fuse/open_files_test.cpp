#include "fs/fuse/open_files.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <set>

#include "support/fake_tier.h"
#include "support/fuse_messages.h"
#include "support/random_bytes.h"
#include "support/temp_dir.h"

namespace stellarium::fs::fuse {
namespace {

constexpr std::uint64_t kFilesMount = 8;
constexpr std::uint64_t kFeatures = abi::feature::kPassthrough | abi::feature::kHasResend;

class FakePort final : public BackingPort {
 public:
  Result<std::uint32_t> open(int) override {
    if (refuse) return fail(Errc::permission, "not allowed");
    is_open.insert(++last);
    return last;
  }
  Result<std::uint32_t> open_for_writing(int fd) override { return open(fd); }
  void close(std::uint32_t id) override { is_open.erase(id); }
  std::uint32_t last = 0;
  std::set<std::uint32_t> is_open;
  bool refuse = false;
};

class OpenFilesTest : public testing::Test {
 protected:
  OpenFilesTest() { restart(/*resumed=*/false); }

  /// The server dies and the next one takes over.
  void restart(bool resumed) {
    auto table = HandleTable::open(UniqueFd{::dup(table_.get())}, kFilesMount);
    files_ = std::make_unique<OpenFiles>(std::move(*table), port_, tier_, true);
    files_->started(kFeatures, resumed);
  }
  void request_open(std::uint64_t node, const tier::ContentRef& content, bool program, std::uint64_t unique) {
    const std::string message = test::make_request(abi::Opcode::open, node, unique, test::bytes_of(abi::OpenIn{}));
    files_->open(*Request::parse(as_bytes(message)), {NodeId{node}, content, program}, Reply{sink_, unique, {}});
  }
  abi::OpenOut open(std::uint64_t node, const tier::ContentRef& content, bool program = false) {
    request_open(node, content, program, unique_ += 2);
    return sink_->only().as<abi::OpenOut>();
  }
  static WritableTarget writable(std::uint64_t node, std::shared_ptr<StagedFile> staged = nullptr) {
    return {.node = NodeId{node}, .for_writing = true, .staged = std::move(staged), .still = {}};
  }
  static std::shared_ptr<StagedFile> staged_file(StagedId id) {
    return std::make_shared<StagedFile>(id, UniqueFd{::open("/dev/null", O_RDWR | O_CLOEXEC)});
  }
  abi::OpenOut open_now(const WritableTarget& target) { return files_->open_now(unique_ += 2, target).value(); }
  static bool passes(const abi::OpenOut& out) { return (out.open_flags & abi::open_flag::kPassthrough) != 0; }
  static bool keeps(const abi::OpenOut& out) { return (out.open_flags & abi::open_flag::kKeepCache) != 0; }

  test::TempDir dir_;
  test::FakeTier tier_{dir_.path()};
  FakePort port_;
  UniqueFd table_ = std::move(*HandleTable::make());
  std::shared_ptr<test::RecordingSink> sink_ = std::make_shared<test::RecordingSink>();
  std::unique_ptr<OpenFiles> files_;
  std::uint64_t unique_ = 0;
  const tier::ContentRef program_ = tier_.add(std::string(30'000, 'p'));
  const tier::ContentRef large_ = tier_.add(std::string(5u << 20, 'l'));
};

TEST_F(OpenFilesTest, AProgramWaitsForItsHotFileWithoutHoldingAThread) {
  tier_.fills_wait = true;
  request_open(7, program_, true, 2);
  EXPECT_TRUE(sink_->take().empty());
  tier_.run_waiting();
  const auto out = sink_->only().as<abi::OpenOut>();
  EXPECT_TRUE(passes(out));
  EXPECT_FALSE(keeps(out));
  EXPECT_EQ(out.backing_id, 1);
}

TEST_F(OpenFilesTest, LargeDataBeginsCachedAndPassesThroughOnceNobodyHasItOpen) {
  tier_.fills_wait = true;
  const auto first = open(7, large_);
  EXPECT_FALSE(passes(first));
  EXPECT_TRUE(keeps(first));
  tier_.run_waiting();
  const auto joined = open(7, large_);
  EXPECT_FALSE(passes(joined)) << "an open joins the node's mode";
  files_->release(first.fh, NodeId{7});
  files_->release(joined.fh, NodeId{7});
  EXPECT_TRUE(passes(open(7, large_)));
}

TEST_F(OpenFilesTest, NodesOfOneContentShareABackingId) {
  const auto one = open(7, program_, true);
  const auto other = open(8, program_, true);
  EXPECT_NE(one.fh, other.fh);
  EXPECT_EQ(one.backing_id, other.backing_id);
  EXPECT_EQ(port_.is_open.size(), 1u);
}

TEST_F(OpenFilesTest, WithoutRoomForAHotFileAProgramIsReadThroughTheCache) {
  tier_.fills_fail = true;
  const auto out = open(7, program_, true);
  EXPECT_FALSE(passes(out));
  EXPECT_TRUE(keeps(out));
  tier_.fills_fail = false;
  EXPECT_FALSE(passes(open(7, program_, true))) << "the first handle is still open";
}

TEST_F(OpenFilesTest, WithoutPrivilegeEverythingIsCached) {
  port_.refuse = true;
  EXPECT_FALSE(passes(open(7, program_, true)));
  EXPECT_EQ(files_->counts().backing_ids, 0u);
}

TEST_F(OpenFilesTest, ABackingIdStaysForTheNextOpenUntilTheTierWantsTheRoom) {
  const auto out = open(7, program_, true);
  EXPECT_FALSE(files_->let_go(program_.id)) << "in use";
  files_->release(out.fh, NodeId{7});
  EXPECT_EQ(port_.is_open.size(), 1u);
  EXPECT_EQ(open(7, program_, true).backing_id, out.backing_id);
}

TEST_F(OpenFilesTest, LettingGoClosesTheIdOnce) {
  const auto out = open(7, program_, true);
  files_->release(out.fh, NodeId{7});
  EXPECT_TRUE(files_->let_go(program_.id));
  EXPECT_TRUE(port_.is_open.empty());
  EXPECT_TRUE(files_->let_go(program_.id));
  EXPECT_EQ(open(7, program_, true).backing_id, 2);
}

TEST_F(OpenFilesTest, AnAnswerThatNobodyWaitsForLeavesNoHandle) {
  sink_->refuse_with = ENOENT;
  request_open(7, program_, true, 2);
  EXPECT_EQ(files_->counts().handles, 0u);
  sink_->refuse_with = 0;
  EXPECT_TRUE(passes(open(7, program_, true)));
}

TEST_F(OpenFilesTest, TheNextServerGoesOnWithModesAndIds) {
  const auto passed = open(7, program_, true);
  tier_.fills_wait = true;
  const auto cached = open(9, large_);
  restart(/*resumed=*/true);
  EXPECT_EQ(files_->counts().handles, 2u);
  const auto again = open(7, program_, true);
  EXPECT_TRUE(passes(again));
  EXPECT_EQ(again.backing_id, passed.backing_id);
  EXPECT_FALSE(passes(open(9, large_)));
  EXPECT_FALSE(files_->let_go(program_.id));
  files_->release(passed.fh, NodeId{7});
  files_->release(again.fh, NodeId{7});
  files_->release(cached.fh, NodeId{9});
  EXPECT_TRUE(files_->let_go(program_.id));
}

TEST_F(OpenFilesTest, AnOpenThatIsSentAgainGetsTheSameHandleAndCountsOnce) {
  // An earlier server was killed between the record and the answer.
  FileHandle recorded = 0;
  {
    auto table = HandleTable::open(UniqueFd{::dup(table_.get())}, kFilesMount);
    recorded = table->begin({.unique = 40, .node = NodeId{7}, .mode = OpenMode::cached})->handle;
  }
  restart(/*resumed=*/true);
  request_open(7, program_, true, 40 | abi::kResentBit);
  const auto out = sink_->only().as<abi::OpenOut>();
  EXPECT_EQ(out.fh, recorded);
  EXPECT_FALSE(passes(out)) << "as it was decided then";
  EXPECT_EQ(files_->counts().handles, 1u);
  files_->release(out.fh, NodeId{7});
  EXPECT_EQ(files_->counts().handles, 0u);
}

TEST_F(OpenFilesTest, ACreateThatIsSentAgainAndMakesAnotherInodeGetsAnotherHandle) {
  {
    auto table = HandleTable::open(UniqueFd{::dup(table_.get())}, kFilesMount);
    ASSERT_TRUE(table->begin({.unique = 40, .node = NodeId{7}, .mode = OpenMode::cached}));
  }
  restart(/*resumed=*/true);
  const auto out = files_->open_now(40, writable(8));
  ASSERT_TRUE(out);
  EXPECT_EQ(files_->counts().handles, 1u);
  EXPECT_FALSE(files_->is_open(NodeId{7}));
  EXPECT_TRUE(files_->is_open(NodeId{8}));
  EXPECT_TRUE(files_->release(out->fh, NodeId{8}));
}

TEST_F(OpenFilesTest, AStagedFilesIdIsSharedAndGoesWithItsLastHandle) {
  const auto writer = open_now(writable(7, staged_file(5)));
  EXPECT_TRUE(passes(writer));
  EXPECT_TRUE(files_->is_open_through_staged_file(NodeId{7}));
  EXPECT_FALSE(files_->is_open_through_hot_file(NodeId{7})) << "it may be written";
  restart(/*resumed=*/true);
  EXPECT_TRUE(files_->is_open_through_staged_file(NodeId{7}));
  const auto other = open_now(writable(7));
  EXPECT_TRUE(passes(other)) << "joins the mode";
  EXPECT_EQ(other.backing_id, writer.backing_id);
  files_->release(writer.fh, NodeId{7});
  EXPECT_EQ(port_.is_open.size(), 1u);
  files_->release(other.fh, NodeId{7});
  EXPECT_TRUE(port_.is_open.empty());
  EXPECT_EQ(files_->counts().backing_ids, 0u);
}

TEST_F(OpenFilesTest, ACreateThatIsSentAgainIsNeverPassedThroughToTheFileOfTheFirstTry) {
  const auto first = files_->open_now(40, writable(7, staged_file(5)));  // its record is never written
  ASSERT_TRUE(first);
  restart(/*resumed=*/true);
  const auto second = files_->open_now(40, writable(7, staged_file(6)));
  ASSERT_TRUE(second);
  EXPECT_TRUE(passes(*second));
  EXPECT_NE(second->backing_id, first->backing_id);
  EXPECT_EQ(files_->counts().handles, 1u);
  EXPECT_EQ(port_.is_open, (std::set<std::uint32_t>{static_cast<std::uint32_t>(second->backing_id)}));
}

TEST_F(OpenFilesTest, WhatIsNotStagedAnyMoreWhenTheOpenIsDecidedIsCached) {
  WritableTarget target = writable(7, staged_file(5));
  target.still = [] { return false; };
  EXPECT_FALSE(passes(open_now(target)));
  EXPECT_TRUE(port_.is_open.empty());
}

TEST_F(OpenFilesTest, PagesFromBeforeAFileWasWrittenBehindThemAreDropped) {
  const auto before = open_now(writable(7));
  EXPECT_TRUE(keeps(before));
  files_->release(before.fh, NodeId{7});
  const auto writer = open_now(writable(7, staged_file(5)));
  files_->release(writer.fh, NodeId{7});
  EXPECT_FALSE(keeps(open_now(writable(7))));
  EXPECT_TRUE(keeps(open_now(writable(7)))) << "they were read anew";
}

TEST_F(OpenFilesTest, AfterATakeoverPagesAreDroppedOnce) {
  restart(/*resumed=*/true);
  EXPECT_FALSE(keeps(open_now(writable(7)))) << "who knows what the last server did";
  EXPECT_TRUE(keeps(open_now(writable(7))));
}

TEST_F(OpenFilesTest, IdsThatWereMadeButNotRecordedAreClosedByTheNextServer) {
  open(7, program_, true);
  ASSERT_TRUE(port_.open(0));  // the server is killed between the ioctl and the record
  ASSERT_EQ(port_.is_open, (std::set<std::uint32_t>{1, 2}));
  restart(/*resumed=*/true);
  EXPECT_EQ(port_.is_open, (std::set<std::uint32_t>{1}));
}

TEST_F(OpenFilesTest, ARenewedNodeHasAModeOfItsOwnAlsoAfterARestart) {
  const auto old = open(7, program_, true);
  ASSERT_TRUE(passes(old));
  ASSERT_TRUE(files_->renew(NodeId{7}));
  ASSERT_TRUE(files_->renew(NodeId{7})) << "somebody else did already";
  const NodeId renewed = NodeId{7}.next();
  EXPECT_EQ(files_->current(NodeId{7}), renewed);
  EXPECT_EQ(files_->current(NodeId{8}), NodeId{8});
  const auto writer = files_->open_now(unique_ += 2, writable(renewed.value()));
  ASSERT_TRUE(writer);
  EXPECT_FALSE(passes(*writer));
  restart(/*resumed=*/true);
  EXPECT_EQ(files_->current(NodeId{7}), renewed);
  EXPECT_EQ(files_->counts().handles, 2u) << "what says so is no handle";
  files_->release(old.fh, NodeId{7});
  EXPECT_TRUE(files_->is_open_at_all(NodeId{7}));
  files_->release(writer->fh, renewed);
  EXPECT_FALSE(files_->is_open_at_all(NodeId{7}));
  restart(/*resumed=*/false);
  EXPECT_EQ(files_->current(NodeId{7}), NodeId{7});
}

TEST_F(OpenFilesTest, ANodeIsRenewedFifteenTimes) {
  NodeId node{7};
  for (; node.incarnation() < NodeId::kMaxIncarnation; node = node.next()) ASSERT_TRUE(files_->renew(node));
  EXPECT_EQ(files_->renew(node).error().sys_errno, ETXTBSY);
}

TEST_F(OpenFilesTest, ANewConversationForgetsAllHandles) {
  open(7, program_, true);
  files_->started(kFeatures, /*resumed=*/false);
  EXPECT_EQ(files_->counts().handles, 0u);
  EXPECT_EQ(files_->counts().backing_ids, 0u);
}

}  // namespace
}  // namespace stellarium::fs::fuse
