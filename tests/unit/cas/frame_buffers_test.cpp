#include "cas/frame_buffers.h"

#include <gtest/gtest.h>

#include <set>
#include <utility>
#include <vector>

#include "cas/frame_format.h"

namespace stellarium::cas {
namespace {

TEST(FrameBuffers, AreOfTheSizeOfAContainerAndDoNotOverlap) {
  const auto buffers = std::make_shared<FrameBuffers>(kMaxContainer);
  std::vector<FrameBuffer> taken;
  for (int i = 0; i < 20; ++i) {
    taken.push_back(buffers->take());
    taken.back().resize(kMaxContainer);
    for (std::byte& byte : taken.back().bytes()) byte = static_cast<std::byte>(i);
  }
  for (int i = 0; i < 20; ++i)
    for (const std::byte byte : taken[static_cast<std::size_t>(i)].bytes()) ASSERT_EQ(byte, static_cast<std::byte>(i));
}

TEST(FrameBuffers, ComeBackEmpty) {
  const auto buffers = std::make_shared<FrameBuffers>(kMaxContainer);
  std::set<const std::byte*> seen;
  for (int i = 0; i < 1000; ++i) {
    FrameBuffer buffer = buffers->take();
    EXPECT_EQ(buffer.size(), 0u);
    buffer.append(as_bytes("some bytes"));
    FrameBuffer moved = std::move(buffer);
    EXPECT_FALSE(buffer);
    EXPECT_EQ(as_text(std::as_const(moved).bytes()), "some bytes");
    seen.insert(moved.bytes().data());
  }
  EXPECT_LE(seen.size(), 6u) << "one slab";
}

TEST(FrameBuffers, GiveMemoryOfItsOwnToASmallOne) {
  const auto buffers = std::make_shared<FrameBuffers>(1024);
  const std::byte* const shared = buffers->take(513).data();
  FrameBuffer small = buffers->take(512);
  EXPECT_EQ(small.size(), 512u);
  EXPECT_EQ(buffers->take(1024).data(), shared) << "was given back";
  small = FrameBuffer{3};
  EXPECT_EQ(small.size(), 3u);
}

TEST(FrameBuffers, GiveMemoryBackOnceNobodyUsesIt) {
  const auto buffers = std::make_shared<FrameBuffers>(1024);
  std::vector<FrameBuffer> many;
  for (int i = 0; i < 3000; ++i) many.push_back(buffers->take());  // more than a slab's
  many.resize(1);
  many.front().append(as_bytes("still there"));
  buffers->give_back_memory();
  EXPECT_EQ(as_text(std::as_const(many.front()).bytes()), "still there");
  many.clear();
  buffers->give_back_memory();
  EXPECT_EQ(buffers->take().size(), 0u);
}

TEST(FrameBuffers, MayOutliveWhoMadeThem) {
  FrameBuffer buffer = std::make_shared<FrameBuffers>(kMaxContainer)->take();
  buffer.append(as_bytes("still there"));
  EXPECT_EQ(as_text(std::as_const(buffer).bytes()), "still there");
}

}  // namespace
}  // namespace stellarium::cas
