#include "fs/fuse/parked_replies.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>

#include "support/fuse_messages.h"

namespace stellarium::fs::fuse {
namespace {

using By = ParkedReply::By;

class ParkedRepliesTest : public testing::Test {
 protected:
  std::shared_ptr<ParkedReply> park(std::uint64_t unique, By by) {
    const std::string message = test::make_request(abi::Opcode::read, 7, unique);
    Request request = *Request::parse(as_bytes(message));
    return ParkedReplies::park(request, Reply{sink_, unique, {}}, by, [](Reply reply) { reply.error(EINTR); });
  }
  ParkedReplies& parked() { return sink_->parked(); }

  std::shared_ptr<test::RecordingSink> sink_ = std::make_shared<test::RecordingSink>();
};

TEST_F(ParkedRepliesTest, ASignalAnswersAWaitThatAnySignalEnds) {
  const auto waiting = park(4, By::any_signal);
  parked().interrupt(4);
  const auto answer = sink_->only();
  EXPECT_EQ(answer.unique, 4u);
  EXPECT_EQ(answer.error, EINTR);
  EXPECT_FALSE(waiting->take()) << "answered already";
}

TEST_F(ParkedRepliesTest, ASignalThatDoesNotKillTheProgramLeavesItsReadWaiting) {
  const auto waiting = park(4, By::killing_signal);
  parked().interrupt(4);
  auto reply = waiting->take();
  ASSERT_TRUE(reply);
  reply->done();
  EXPECT_EQ(sink_->only().error, 0);
}

TEST_F(ParkedRepliesTest, ASignalAfterTheAnswerIsNobodysBusiness) {
  const auto waiting = park(4, By::any_signal);
  waiting->take()->done();
  parked().interrupt(4);
  EXPECT_EQ(sink_->only().error, 0);
}

TEST_F(ParkedRepliesTest, ASignalThatOvertakesItsRequestCounts) {
  parked().interrupt(6);
  const auto other = park(4, By::any_signal);
  EXPECT_TRUE(sink_->take().empty());
  const auto waiting = park(6, By::any_signal);
  EXPECT_EQ(sink_->only().error, EINTR);
}

TEST_F(ParkedRepliesTest, ARequestThatIsSentAgainIsFoundByTheSameNumber) {
  const auto waiting = park(4 | abi::kResentBit, By::any_signal);
  parked().interrupt(4);
  EXPECT_EQ(sink_->only().unique, 4 | abi::kResentBit);
}

TEST_F(ParkedRepliesTest, AReplyThatIsDroppedWhileItIsParkedFails) {
  park(4, By::any_signal).reset();
  EXPECT_EQ(sink_->only().error, EIO);
  parked().interrupt(4);
  EXPECT_TRUE(sink_->take().empty());
}

TEST_F(ParkedRepliesTest, AParkedReplyKeepsTheSinkAfterItWasTaken) {
  const std::weak_ptr<test::RecordingSink> sink = sink_;
  auto waiting = park(4, By::any_signal);
  waiting->take()->done();
  sink_.reset();
  EXPECT_FALSE(sink.expired());
  waiting.reset();
  EXPECT_TRUE(sink.expired());
}

TEST(IsBeingKilled, IsFalseForWhoeverLives) {
  EXPECT_FALSE(is_being_killed(processes_in_proc(), static_cast<std::uint32_t>(::gettid())));
  EXPECT_FALSE(is_being_killed(processes_in_proc(), 0));
  EXPECT_FALSE(is_being_killed(processes_in_proc(), 4'000'000'000));
}

}  // namespace
}  // namespace stellarium::fs::fuse
