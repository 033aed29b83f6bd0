#include "tools/protocol/channel.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "support/temp_dir.h"
#include "tools/protocol/address.h"

namespace stellarium::protocol {
namespace {

struct Pair {
  Channel a, b;
};

Pair connected() {
  auto ends = make_socket_pair();
  return {Channel{std::move(ends->first)}, Channel{std::move(ends->second)}};
}

/// What a peer that does not follow the protocol puts on the socket.
void send_raw(const Channel& channel, std::string_view bytes) {
  ASSERT_EQ(::send(channel.fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
}

std::string header(std::uint16_t type, std::uint16_t zero, std::uint32_t size) {
  std::string out;
  put_le(out, type);
  put_le(out, zero);
  put_le(out, size);
  return out;
}

TEST(Channel, AFrameArrivesAsItWasSent) {
  const Pair pair = connected();
  ASSERT_TRUE(pair.a.send(7, "payload"));
  const auto frame = pair.b.receive();
  ASSERT_TRUE(frame) << to_string(frame.error());
  EXPECT_EQ(frame->type, 7);
  EXPECT_EQ(frame->payload, "payload");
  EXPECT_TRUE(frame->descriptors.empty());
}

TEST(Channel, TheLargestFrameArrivesWhole) {
  const Pair pair = connected();
  const std::string payload(kMaxPayload, 'x');
  ASSERT_TRUE(pair.a.send(1, payload));
  const auto frame = pair.b.receive();
  ASSERT_TRUE(frame) << to_string(frame.error());
  EXPECT_EQ(frame->payload, payload);
}

TEST(Channel, AFrameOverTheLimitIsNotSent) {
  const Pair pair = connected();
  EXPECT_EQ(pair.a.send(1, std::string(kMaxPayload + 1, 'x')).error().code, Errc::invalid_argument);
  EXPECT_FALSE(*pair.b.readable(0));
}

TEST(Channel, FramesKeepTheirBoundariesAndOrder) {
  const Pair pair = connected();
  for (std::uint16_t i = 0; i < 20; ++i) ASSERT_TRUE(pair.a.send(i, std::string(i, 'a')));
  for (std::uint16_t i = 0; i < 20; ++i) {
    const auto frame = pair.b.receive();
    ASSERT_TRUE(frame);
    EXPECT_EQ(frame->type, i);
    EXPECT_EQ(frame->payload.size(), i);
  }
}

TEST(Channel, DescriptorsArriveWithTheirFrameAndClosedOnExec) {
  const Pair pair = connected();
  const UniqueFd null{::open("/dev/null", O_RDONLY | O_CLOEXEC)};
  const int numbers[] = {null.get(), null.get()};
  ASSERT_TRUE(pair.a.send(1, "plain"));
  ASSERT_TRUE(pair.a.send(2, "with descriptors", numbers));
  EXPECT_TRUE(pair.b.receive()->descriptors.empty());
  const auto frame = pair.b.receive();
  ASSERT_TRUE(frame);
  ASSERT_EQ(frame->descriptors.size(), 2u);
  struct stat status {};
  ASSERT_EQ(::fstat(frame->descriptors[1].get(), &status), 0);
  EXPECT_TRUE(S_ISCHR(status.st_mode));
  EXPECT_NE(::fcntl(frame->descriptors[0].get(), F_GETFD) & FD_CLOEXEC, 0);
}

TEST(Channel, APeerThatHungUpIsUnavailable) {
  Pair pair = connected();
  pair.a.close();
  EXPECT_EQ(pair.b.receive().error().code, Errc::unavailable);
  EXPECT_EQ(pair.b.send(1, "x").error().code, Errc::unavailable);
}

TEST(Channel, WhatWasSentBeforeHangingUpIsStillReceived) {
  Pair pair = connected();
  ASSERT_TRUE(pair.a.send(1, "last words"));
  pair.a.close();
  EXPECT_EQ(pair.b.receive()->payload, "last words");
  EXPECT_FALSE(pair.b.receive());
}

TEST(Channel, FramesThatLieAboutTheirSizeAreRefused) {
  for (const std::string& bytes : {header(1, 0, 5) + "four", header(1, 0, 3) + "four", header(1, 0, 0xffffffff),
                                   header(1, 9, 4) + "four", std::string{"short"}, std::string{"\0", 1}}) {
    const Pair pair = connected();
    send_raw(pair.a, bytes);
    const auto frame = pair.b.receive();
    ASSERT_FALSE(frame) << bytes.size();
    EXPECT_EQ(frame.error().code, Errc::invalid_argument);
  }
}

TEST(Channel, AMessageOverTheLimitIsRefused) {
  const Pair pair = connected();
  send_raw(pair.a, header(1, 0, kMaxPayload + 1) + std::string(kMaxPayload + 1, 'x'));
  EXPECT_EQ(pair.b.receive().error().code, Errc::invalid_argument);
}

TEST(Address, ASocketInAFolderWithAVeryLongPathIsReached) {
  const test::TempDir temp;
  std::filesystem::path folder = temp.path();
  for (int i = 0; i < 10; ++i) folder /= std::string(60, 'd');
  std::filesystem::create_directories(folder);
  const auto listener = listen_in(folder);
  ASSERT_TRUE(listener) << to_string(listener.error());
  const auto client = connect_in(folder);
  ASSERT_TRUE(client) << to_string(client.error());
  const auto peer = peer_of(client->get());
  ASSERT_TRUE(peer);
  EXPECT_EQ(peer->uid, ::geteuid());
}

TEST(Address, ASocketNobodyListensOnIsNotFound) {
  const test::TempDir temp;
  EXPECT_EQ(connect_in(temp.path()).error().code, Errc::not_found);
  { const auto listener = listen_in(temp.path()); }
  EXPECT_EQ(connect_in(temp.path()).error().code, Errc::not_found);
}

TEST(Address, ASocketLeftByAnEarlierKeeperIsReplaced) {
  const test::TempDir temp;
  { const auto earlier = listen_in(temp.path()); }
  const auto listener = listen_in(temp.path());
  ASSERT_TRUE(listener) << to_string(listener.error());
  EXPECT_TRUE(connect_in(temp.path()));
}

}  // namespace
}  // namespace stellarium::protocol
