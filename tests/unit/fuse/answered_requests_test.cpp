#include "fs/fuse/answered_requests.h"

#include <gtest/gtest.h>

#include <memory>

#include "fs/families.h"
#include "support/fs_layers.h"
#include "support/fuse_messages.h"
#include "support/temp_dir.h"

namespace stellarium::fs::fuse {
namespace {

constexpr std::uint64_t kAnsweredMount = 9;

class AnsweredRequestsTest : public ::testing::Test {
 protected:
  AnsweredRequestsTest() { restart(/*resumed=*/false); }
  /// The server dies and the next one takes over.
  void restart(bool resumed = true) {
    answered_ = std::make_unique<AnsweredRequests>(*database_, kAnsweredMount);
    ASSERT_TRUE(answered_->started(resumed));
  }
  /// Executes a request, and hands the answer over.
  void execute(std::uint64_t unique, std::string_view answer) {
    const std::string message = test::make_request(abi::Opcode::mkdir, 1, unique);
    const AnsweredRequests::Slot slot{*answered_, *Request::parse(as_bytes(message))};
    cas::Database::Batch batch;
    slot.note(batch, as_bytes(answer));
    ASSERT_TRUE(database_->write(std::move(batch), cas::Database::Sync::no));
  }
  std::optional<std::string> find(std::uint64_t unique) {
    const std::string message = test::make_request(abi::Opcode::mkdir, 1, unique | abi::kResentBit);
    return answered_->find(*Request::parse(as_bytes(message)));
  }

  test::TempDir dir_;
  std::unique_ptr<cas::Database> database_ = test::open_database(dir_ / "db");
  std::unique_ptr<AnsweredRequests> answered_;
};

TEST_F(AnsweredRequestsTest, TheNextServerKnowsTheLastAnswerOfEachSlot) {
  execute(2, "first");
  execute(4, "second");
  restart();
  EXPECT_EQ(find(4), "second");
  EXPECT_EQ(find(2), std::nullopt) << "its answer had been handed over";
  EXPECT_EQ(find(6), std::nullopt);
}

TEST_F(AnsweredRequestsTest, AnAnswerOutlivesAServerThatWasKilledBeforeItWasAskedAgain) {
  execute(2, "first");
  restart();
  execute(4, "another request came first");
  restart();
  EXPECT_EQ(find(2), "first");
  EXPECT_EQ(find(4), "another request came first");
}

TEST_F(AnsweredRequestsTest, ANewConversationKnowsNothing) {
  execute(2, "first");
  restart(/*resumed=*/false);
  EXPECT_EQ(find(2), std::nullopt);
  restart();
  EXPECT_EQ(find(2), std::nullopt);
}

}  // namespace
}  // namespace stellarium::fs::fuse
