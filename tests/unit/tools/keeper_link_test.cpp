#include "tools/keeper/link.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <thread>

namespace stellarium::keeper {
namespace {

using protocol::Channel;

struct Ends {
  Channel keeper;
  KeeperLink server;
};

Ends connected() {
  auto ends = protocol::make_socket_pair();
  return {Channel{std::move(ends->first)}, KeeperLink{Channel{std::move(ends->second)}}};
}

UniqueFd null_device() {
  return UniqueFd{::open("/dev/null", O_RDWR | O_CLOEXEC)};
}

TEST(KeeperLink, TakesOverListenerAndRecords) {
  Ends ends = connected();
  const UniqueFd null = null_device();
  const int fd = null.get();
  const Record record{"mount-7", "blob", {}};
  ASSERT_TRUE(ends.keeper.send(wire(LinkType::listener), {}, {&fd, 1}));
  ASSERT_TRUE(ends.keeper.send(wire(LinkType::record), record.encode(), {&fd, 1}));
  ASSERT_TRUE(ends.keeper.send(wire(LinkType::start), {}));
  const auto inheritance = ends.server.receive_inheritance();
  ASSERT_TRUE(inheritance) << to_string(inheritance.error());
  EXPECT_TRUE(inheritance->listener);
  ASSERT_EQ(inheritance->records.size(), 1u);
  EXPECT_EQ(inheritance->records[0].name, "mount-7");
}

TEST(KeeperLink, RefusesATakeoverWithUnknownMessages) {
  Ends ends = connected();
  ASSERT_TRUE(ends.keeper.send(999, {}));
  EXPECT_EQ(ends.server.receive_inheritance().error().code, Errc::invalid_argument);
}

TEST(KeeperLink, PutReturnsWhenTheKeeperHasAnswered) {
  Ends ends = connected();
  std::thread keeper{[&ends] {
    auto frame = ends.keeper.receive();
    ASSERT_TRUE(frame);
    EXPECT_EQ(frame->type, wire(LinkType::put));
    EXPECT_EQ(frame->descriptors.size(), 1u);
    ASSERT_TRUE(ends.keeper.send(wire(LinkType::done), {}));
  }};
  Record record{"mount-1", "blob", {}};
  record.descriptors.push_back(null_device());
  EXPECT_TRUE(ends.server.put(record));
  keeper.join();
}

TEST(KeeperLink, PassesTheKeepersRefusalOn) {
  Ends ends = connected();
  ASSERT_TRUE(ends.keeper.send(wire(LinkType::done), "no such record"));
  const auto removed = ends.server.remove("mount-1");
  ASSERT_FALSE(removed);
  EXPECT_NE(removed.error().context.find("no such record"), std::string::npos);
}

TEST(KeeperLink, SaysSoWhenTheKeeperIsGone) {
  Ends ends = connected();
  ends.keeper.close();
  EXPECT_EQ(ends.server.remove("mount-1").error().code, Errc::unavailable);
}

}  // namespace
}  // namespace stellarium::keeper
