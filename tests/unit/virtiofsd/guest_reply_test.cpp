#include "virtiofsd/guest_reply.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "fs/fuse/abi.h"

namespace stellarium::virtiofsd {
namespace {

using fs::fuse::abi::OutHeader;

/// A request whose answer goes into pieces of a guest's memory.
class GuestReplyTest : public testing::Test {
 protected:
  struct NoOwner final : GuestReply::Owner {};
  /// `pieces`: where they begin and end in `memory_`.
  GuestReply reply(const std::vector<std::pair<std::size_t, std::size_t>>& pieces) {
    GuestQueue::Taken taken{};
    const MutableByteSpan all = std::as_writable_bytes(std::span{memory_});
    for (const auto& [begin, end] : pieces) {
      taken.chain.writable.push_back(all.subspan(begin, end - begin));
      taken.chain.writable_bytes += end - begin;
    }
    return {owner_, queue_, std::move(taken)};
  }
  std::size_t place(const MutableByteSpan& piece) const {
    return static_cast<std::size_t>(piece.data() - reinterpret_cast<const std::byte*>(memory_.data()));
  }

  std::string memory_ = std::string(200, '?');
  GuestQueue queue_;
  const std::shared_ptr<NoOwner> owner_ = std::make_shared<NoOwner>();
};

TEST_F(GuestReplyTest, RoomLiesBehindTheHeader) {
  auto split = reply({{0, 10}, {50, 60}, {60, 70}, {100, 150}});
  const auto room = split.room(24);
  ASSERT_EQ(room.size(), 2u);
  EXPECT_EQ(place(room[0]), 56u);
  EXPECT_EQ(room[0].size(), 14u);  // two pages that follow each other
  EXPECT_EQ(place(room[1]), 100u);
  EXPECT_EQ(room[1].size(), 10u);
  EXPECT_EQ(split.send(1, EIO, {}), 0);
}

TEST_F(GuestReplyTest, ThereIsNoneForMoreThanTheGuestHasRoomFor) {
  auto small = reply({{0, 16}, {20, 30}});
  EXPECT_EQ(small.room(10).size(), 1u);
  EXPECT_TRUE(small.room(11).empty());
  EXPECT_TRUE(small.room(SIZE_MAX - 16).empty());
  EXPECT_TRUE(small.room(SIZE_MAX).empty());
  auto none = reply({{0, 8}});
  EXPECT_TRUE(none.room(0).empty());
}

TEST_F(GuestReplyTest, WhatWasFilledInIsSentOnce) {
  auto answer = reply({{0, 16}, {16, 100}});
  const auto room = answer.room(5);
  std::memcpy(room.front().data(), "bytes", 5);
  EXPECT_EQ(answer.send_filled(7 | fs::fuse::abi::kResentBit, 5), 0);  // the guest does not know the mark
  OutHeader header;
  std::memcpy(&header, memory_.data(), sizeof header);
  EXPECT_EQ(header.len, sizeof header + 5);
  EXPECT_EQ(header.error, 0);
  EXPECT_EQ(header.unique, 7u);
  EXPECT_EQ(memory_.substr(16, 6), "bytes?");
  EXPECT_EQ(answer.send_filled(7, 5), ENOENT);
  EXPECT_EQ(answer.send(7, 0, {}), ENOENT);
}

}  // namespace
}  // namespace stellarium::virtiofsd
