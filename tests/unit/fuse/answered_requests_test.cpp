#include "fs/fuse/answered_requests.h"

#include <gtest/gtest.h>

#include "support/fs_layers.h"
#include "support/fuse_messages.h"
#include "support/temp_dir.h"

namespace stellarium::fs::fuse {
namespace {

class AnsweredRequestsTest : public testing::Test {
 protected:
  /// A request as it came first, or as the kernel sends it again.
  static Request request(std::uint64_t id, bool resent) {
    static std::vector<std::string> messages;  // requests borrow them
    messages.push_back(
        test::make_request(abi::Opcode::mkdir, 1, resent ? id | abi::kResentBit : id, test::make_name("d")));
    return *Request::parse(as_bytes(messages.back()));
  }
  void answer(AnsweredRequests& answered, std::uint64_t id, std::string_view payload) {
    const AnsweredRequests::Slot slot{answered, request(id, false)};
    cas::Database::Batch batch;
    slot.note(batch, as_bytes(payload));
    ASSERT_TRUE(database_->write(std::move(batch), cas::Database::Sync::no));
  }

  test::TempDir dir_;
  std::unique_ptr<cas::Database> database_ = test::open_database(dir_ / "db");
};

TEST_F(AnsweredRequestsTest, TheNextServerAnswersWhatTheLastOneDid) {
  AnsweredRequests before{*database_, 7};
  ASSERT_TRUE(before.started(false));
  answer(before, 20, "entry");

  AnsweredRequests after{*database_, 7};
  ASSERT_TRUE(after.started(true));
  EXPECT_EQ(after.find(request(20, true)), "entry");
  EXPECT_FALSE(after.find(request(22, true))) << "it was never executed";
  EXPECT_FALSE(after.find(request(20, false))) << "a new request of an old number";
}

TEST_F(AnsweredRequestsTest, ASlotIsUsedAgainOnceItsRequestIsAnswered) {
  AnsweredRequests before{*database_, 7};
  ASSERT_TRUE(before.started(false));
  answer(before, 20, "first");
  answer(before, 22, "second");

  AnsweredRequests after{*database_, 7};
  ASSERT_TRUE(after.started(true));
  EXPECT_FALSE(after.find(request(20, true))) << "its answer had been handed over";
  EXPECT_EQ(after.find(request(22, true)), "second");
}

TEST_F(AnsweredRequestsTest, RequestsUnderWayAtOnceHaveSlotsOfTheirOwn) {
  AnsweredRequests before{*database_, 7};
  ASSERT_TRUE(before.started(false));
  {
    const AnsweredRequests::Slot one{before, request(20, false)}, other{before, request(22, false)};
    cas::Database::Batch batch;
    one.note(batch, as_bytes(std::string_view{"one"}));
    other.note(batch, as_bytes(std::string_view{"other"}));
    ASSERT_TRUE(database_->write(std::move(batch), cas::Database::Sync::no));
  }
  AnsweredRequests after{*database_, 7};
  ASSERT_TRUE(after.started(true));
  EXPECT_EQ(after.find(request(20, true)), "one");
  EXPECT_EQ(after.find(request(22, true)), "other");
}

TEST_F(AnsweredRequestsTest, MountsDoNotMeetEachOthersAnswersAndLeaveNone) {
  AnsweredRequests one{*database_, 7}, other{*database_, 8};
  ASSERT_TRUE(one.started(false) && other.started(false));
  answer(one, 20, "of one");
  answer(other, 20, "of other");
  ASSERT_TRUE(AnsweredRequests::erase(*database_, 7));
  AnsweredRequests one_again{*database_, 7}, other_again{*database_, 8};
  ASSERT_TRUE(one_again.started(true) && other_again.started(true));
  EXPECT_FALSE(one_again.find(request(20, true)));
  EXPECT_EQ(other_again.find(request(20, true)), "of other");
}

}  // namespace
}  // namespace stellarium::fs::fuse
