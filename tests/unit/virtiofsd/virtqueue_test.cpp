#include "virtiofsd/virtqueue.h"

#include <gtest/gtest.h>

#include <functional>
#include <numeric>

#include "support/guest_frontend.h"

namespace stellarium::virtiofsd {
namespace {

constexpr std::uint16_t kNext = test::GuestRing::kNext, kWrite = test::GuestRing::kWrite,
                        kIndirect = test::GuestRing::kIndirect;
constexpr std::uint64_t kTop = ~std::uint64_t{0};

class VirtqueueTest : public testing::Test {
 protected:
  VirtqueueTest() {
    memory_ = *memory_.with(*GuestRegion::map(ram_.region(), ram_.duplicate()));
    place_ = ram_.guest_address(ram_.allocate(64 << 10));
  }
  Virtqueue::Layout layout() const {
    return {ring_.size,
            ram_.user_address(ring_.descriptors),
            ram_.user_address(ring_.available),
            ram_.user_address(ring_.used),
            0,
            true,
            true};
  }
  Virtqueue made() const { return *Virtqueue::create(layout(), memory_); }
  std::optional<DescriptorChain> popped(Virtqueue& queue) const {
    auto chain = queue.pop(memory_);
    EXPECT_TRUE(chain);
    return chain ? std::move(*chain) : std::nullopt;
  }

  test::GuestRam ram_;
  test::GuestRing ring_{ram_, 8};
  GuestMemory memory_;
  std::uint64_t place_;  // of buffers
};

TEST_F(VirtqueueTest, GivesWhatIsToBeReadAndWhatIsToBeWritten) {
  Virtqueue queue = made();
  EXPECT_FALSE(popped(queue));
  ring_.set(5, {place_, 40, kNext, 2});
  ring_.set(2, {place_ + 100, 0, kNext, 7});
  ring_.set(7, {place_ + 4096, 16, kNext | kWrite, 0});
  ring_.set(0, {place_ + 8192, 4096, kWrite, 3});
  ring_.offer(5);
  const auto chain = popped(queue);
  ASSERT_TRUE(chain);
  EXPECT_EQ(chain->fault, nullptr);
  EXPECT_EQ(chain->head, 5);
  EXPECT_EQ(chain->readable_bytes, 40u);
  EXPECT_EQ(chain->writable_bytes, 16u + 4096u);
  ASSERT_EQ(chain->writable.size(), 2u);
  chain->writable[1][0] = std::byte{9};
  EXPECT_EQ(*ram_.at(place_ + 8192 - test::GuestRam::kGuestAddress), std::byte{9});
  EXPECT_FALSE(popped(queue));
}

TEST_F(VirtqueueTest, ATableIsAChain) {
  const std::size_t table = ram_.allocate(4096);
  const std::array<test::GuestRing::Descriptor, 3> entries{
      {{place_, 40, kNext, 2}, {}, {place_ + 4096, 96, kWrite, 0}}};
  std::memcpy(ram_.at(table), entries.data(), sizeof entries);
  ring_.set(0, {ram_.guest_address(table), sizeof entries, kIndirect, 0});
  ring_.offer(0);
  Virtqueue queue = made();
  const auto chain = popped(queue);
  ASSERT_TRUE(chain);
  EXPECT_EQ(chain->fault, nullptr);
  EXPECT_EQ(chain->readable_bytes, 40u);
  EXPECT_EQ(chain->writable_bytes, 96u);
}

TEST_F(VirtqueueTest, IndicesGoOnBeyondSixteenBits) {
  Virtqueue::Layout late = layout();
  late.base = 0xfffe;
  ring_.set_available_index(0xfffe);
  Virtqueue queue = *Virtqueue::create(late, memory_);
  ring_.set(1, {place_, 40, 0, 0});
  for (int i = 0; i < 20; ++i) {
    ring_.offer(1);
    ASSERT_TRUE(popped(queue)) << i;
    queue.push(1, 7);
  }
  EXPECT_EQ(ring_.used_index(), 20);
  EXPECT_EQ(ring_.used_at(19), (test::GuestRing::Used{1, 7}));
  EXPECT_EQ(queue.next(), static_cast<std::uint16_t>(0xfffe + 20));
}

TEST_F(VirtqueueTest, TheDriverIsToldWhenItWantsToBe) {
  Virtqueue queue = made();
  ring_.want_call_at(1);
  queue.push(0, 0);
  EXPECT_FALSE(queue.wants_call());
  queue.push(0, 0);
  EXPECT_TRUE(queue.wants_call());
  EXPECT_FALSE(queue.wants_call());  // told already
  queue.push(0, 0);
  EXPECT_FALSE(queue.wants_call());

  Virtqueue::Layout plain = layout();
  plain.event_idx = false;
  Virtqueue simple = *Virtqueue::create(plain, memory_);
  simple.push(0, 0);
  EXPECT_TRUE(simple.wants_call());
  ring_.want_no_calls();
  simple.push(0, 0);
  EXPECT_FALSE(simple.wants_call());
}

TEST_F(VirtqueueTest, AKickIsAskedForAndNoRequestIsMissed) {
  Virtqueue queue = made();
  EXPECT_FALSE(queue.wait_for_kick());
  ring_.set(0, {place_, 40, 0, 0});
  ring_.offer(0);
  EXPECT_TRUE(queue.wait_for_kick());
  ASSERT_TRUE(popped(queue));
  EXPECT_FALSE(queue.wait_for_kick());
  EXPECT_EQ(ring_.wanted_kick(), 1);
}

TEST_F(VirtqueueTest, WhatCannotBeServedIsTakenAllTheSame) {
  const std::size_t table = ram_.allocate(4096);
  const std::uint64_t table_address = ram_.guest_address(table);
  const auto put = [&](std::vector<test::GuestRing::Descriptor> entries) {
    std::memcpy(ram_.at(table), entries.data(), entries.size() * sizeof entries[0]);
  };
  const std::vector<std::pair<const char*, std::function<void()>>> wrongs{
      {"itself",
       [&] {
         ring_.set(0, {place_, 1, kNext, 0});
       }},
      {"a loop",
       [&] {
         ring_.set(0, {place_, 1, kNext, 1});
         ring_.set(1, {place_, 1, kNext, 0});
       }},
      {"beyond the queue",
       [&] {
         ring_.set(0, {place_, 1, kNext, 8});
       }},
      {"nobody's memory",
       [&] {
         ring_.set(0, {0, 1, 0, 0});
       }},
      {"4 GiB",
       [&] {
         ring_.set(0, {place_, 0xffff'ffff, 0, 0});
       }},
      {"the end of addresses",
       [&] {
         ring_.set(0, {kTop, 2, kWrite, 0});
       }},
      {"read behind written",
       [&] {
         ring_.set(0, {place_, 1, kWrite | kNext, 1});
         ring_.set(1, {place_, 1, 0, 0});
       }},
      {"an empty table",
       [&] {
         ring_.set(0, {table_address, 0, kIndirect, 0});
       }},
      {"half a descriptor",
       [&] {
         ring_.set(0, {table_address, 24, kIndirect, 0});
       }},
      {"a table longer than the queue",
       [&] {
         ring_.set(0, {table_address, 9 * 16, kIndirect, 0});
       }},
      {"a table of 4 GiB",
       [&] {
         ring_.set(0, {table_address, 0xffff'fff0, kIndirect, 0});
       }},
      {"a table in nobody's memory",
       [&] {
         ring_.set(0, {0, 16, kIndirect, 0});
       }},
      {"a table that goes on",
       [&] {
         ring_.set(0, {table_address, 16, kIndirect | kNext, 1});
       }},
      {"a table behind a buffer",
       [&] {
         ring_.set(0, {place_, 1, kNext, 1});
         ring_.set(1, {table_address, 16, kIndirect, 0});
       }},
      {"a table in a table",
       [&] {
         put({{table_address, 16, kIndirect, 0}});
         ring_.set(0, {table_address, 16, kIndirect, 0});
       }},
      {"a loop in a table",
       [&] {
         put({{place_, 1, kNext, 0}});
         ring_.set(0, {table_address, 16, kIndirect, 0});
       }},
      {"beyond a table",
       [&] {
         put({{place_, 1, kNext, 1}});
         ring_.set(0, {table_address, 16, kIndirect, 0});
       }},
  };
  Virtqueue queue = made();
  for (const auto& [what, set] : wrongs) {
    set();
    ring_.offer(0);
    const auto chain = popped(queue);
    ASSERT_TRUE(chain) << what;
    EXPECT_NE(chain->fault, nullptr) << what;
    EXPECT_EQ(chain->head, 0) << what;
    EXPECT_TRUE(chain->readable.empty() && chain->writable.empty()) << what;
    queue.push(chain->head, 0);
  }
}

TEST_F(VirtqueueTest, ATableIsForThoseWhoAgreedOnIt) {
  Virtqueue::Layout plain = layout();
  plain.indirect = false;
  Virtqueue queue = *Virtqueue::create(plain, memory_);
  ring_.set(0, {place_, 16, kIndirect, 0});
  ring_.offer(0);
  EXPECT_NE(popped(queue)->fault, nullptr);
}

TEST_F(VirtqueueTest, ABrokenRingStops) {
  Virtqueue queue = made();
  ring_.set_available_index(9);
  EXPECT_FALSE(queue.pop(memory_));
  ring_.set_available_index(0);
  ring_.offer(8);
  EXPECT_FALSE(queue.pop(memory_));
}

TEST_F(VirtqueueTest, RingsLieInTheGuestsMemory) {
  const auto refused = [this](const std::function<void(Virtqueue::Layout&)>& change) {
    Virtqueue::Layout wrong = layout();
    change(wrong);
    return !Virtqueue::create(wrong, memory_);
  };
  const std::uint64_t end = ram_.user_address(4u << 20);
  EXPECT_FALSE(refused([](auto&) {}));
  for (const std::uint32_t size : {0u, 3u, 65'536u, 0xffff'ffffu})
    EXPECT_TRUE(refused([size](auto& wrong) { wrong.size = size; })) << size;
  for (const std::uint64_t address : {std::uint64_t{0}, end, end - 16, kTop, ram_.user_address(ring_.used) + 1}) {
    EXPECT_TRUE(refused([=](auto& wrong) { wrong.descriptors = address; })) << address;
    EXPECT_TRUE(refused([=](auto& wrong) { wrong.available = address; })) << address;
    EXPECT_TRUE(refused([=](auto& wrong) { wrong.used = address; })) << address;
  }
}

TEST_F(VirtqueueTest, StaysWhereItWasIfItCannotMove) {
  Virtqueue queue = made();
  EXPECT_FALSE(queue.move_to(GuestMemory{}));
  EXPECT_TRUE(queue.move_to(memory_));
  ring_.set(0, {place_, 40, 0, 0});
  ring_.offer(0);
  EXPECT_TRUE(popped(queue));
}

}  // namespace
}  // namespace stellarium::virtiofsd
