#include "cas/branch_filter.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "cas/branch_filter_opcodes.h"
#include "support/random_bytes.h"

namespace stellarium::cas {
namespace {

using test::random_bytes;
using Bytes = std::vector<std::byte>;

Bytes bytes(std::initializer_list<unsigned> values) {
  Bytes result;
  for (const unsigned value : values) result.push_back(static_cast<std::byte>(value));
  return result;
}
Bytes converted(Bytes data) {
  convert_branches(data);
  return data;
}
Bytes restored(Bytes data) {
  restore_branches(data);
  return data;
}

TEST(BranchFilter, MakesCallsOfOneFunctionEqual) {
  // Two calls of position 0x100: one whose next instruction is at 5, one whose next instruction is at 10.
  const Bytes calls = bytes({0xe8, 0xfb, 0x00, 0x00, 0x00, 0xe8, 0xf6, 0x00, 0x00, 0x00});
  EXPECT_EQ(converted(calls), bytes({0xe8, 0x00, 0x01, 0x00, 0x00, 0xe8, 0x00, 0x01, 0x00, 0x00}));
}

TEST(BranchFilter, ConvertsBranchesBackwards) {
  EXPECT_EQ(converted(bytes({0x90, 0xe9, 0xfa, 0xff, 0xff, 0xff})), bytes({0x90, 0xe9, 0x00, 0x00, 0x00, 0x00}));
}

TEST(BranchFilter, FindsBranchesAtEveryPlaceAmongLookAlikes) {
  for (std::size_t place = 0; place < 24; ++place) {
    Bytes data(40, place % 2 == 0 ? std::byte{0xe7} : std::byte{0xea});
    data[place] = std::byte{0xe8};
    for (std::size_t i = 1; i <= 4; ++i) data[place + i] = std::byte{0};
    Bytes expected = data;
    expected[place + 1] = static_cast<std::byte>(place + 5);
    EXPECT_EQ(converted(data), expected) << place;
  }
}

TEST(BranchFilter, ListsTheSameOpcodesOnEveryProcessor) {
  std::mt19937_64 random{4};
  for (const unsigned one_in : {1u, 2u, 10u, 100u, 10'000u}) {
    Bytes data = random_bytes(random(), (kMaxOpcodeBlocks + 1) * kOpcodeBlock);
    for (std::byte& byte : data)
      if (random() % one_in == 0) byte = static_cast<std::byte>(0xe8 + random() % 2);
    std::vector<std::uint32_t> expected;
    for (std::size_t i = kOpcodeBlock; i < data.size(); ++i)
      if (data[i] == std::byte{0xe8} || data[i] == std::byte{0xe9}) expected.push_back(static_cast<std::uint32_t>(i));
    for (const auto list : {list_opcodes, list_opcodes_anywhere}) {
      OpcodeList found;
      const std::size_t count = list(data.data(), kOpcodeBlock, kMaxOpcodeBlocks, found);
      EXPECT_EQ(std::vector<std::uint32_t>(found.begin(), found.begin() + count), expected) << one_in;
    }
  }
}

TEST(BranchFilter, LeavesFarOperandsAndTheEndAlone) {
  const Bytes far = bytes({0xe8, 0x01, 0x02, 0x03, 0x01}), cut = bytes({0x90, 0xe8, 0x00, 0x00, 0x00});
  EXPECT_EQ(converted(far), far);
  EXPECT_EQ(converted(cut), cut);
  EXPECT_EQ(converted({}), Bytes{});
}

TEST(BranchFilter, IsUndoneOnAnyBytes) {
  std::mt19937_64 random{5};
  constexpr unsigned kTelling[] = {0xe8, 0xe9, 0x00, 0xff, 0x01, 0xfe};  // opcodes and the highest bytes that matter
  for (int round = 0; round < 2000; ++round) {
    Bytes data(random() % 200);
    for (std::byte& byte : data) byte = static_cast<std::byte>(kTelling[random() % std::size(kTelling)]);
    ASSERT_EQ(restored(converted(data)), data) << "round " << round;
    ASSERT_EQ(converted(restored(data)), data) << "round " << round;
  }
  const Bytes noise = random_bytes(/*seed=*/6, 262'144);
  EXPECT_EQ(restored(converted(noise)), noise);
}

TEST(BranchFilter, IsUndoneForOperandsAtEveryEdge) {
  for (const std::uint32_t operand : {0u, 1u, 0x00ff'ffffu, 0x0100'0000u, 0xfeff'ffffu, 0xff00'0000u, 0xffff'ffffu,
                                      0x00ff'fffbu, 0xff00'0005u, 0x7fff'ffffu, 0x8000'0000u}) {
    Bytes data(5);
    data[0] = std::byte{0xe8};
    store_le(data.data() + 1, operand);
    EXPECT_EQ(restored(converted(data)), data) << operand;
  }
}

TEST(BranchFilter, CountsWhatItConverts) {
  Bytes code;
  for (int i = 0; i < 100; ++i) {
    for (const std::byte byte : bytes({0xe8, 0x10, 0x20, 0x00, 0x00})) code.push_back(byte);
    for (const std::byte byte : bytes({0xe9, 0x10, 0x20, 0x00, 0x40})) code.push_back(byte);  // far
    code.insert(code.end(), 60, std::byte{0x90});
  }
  EXPECT_EQ(convert_branches(code), 100u);
  Bytes text = test::text_bytes(/*seed=*/1, 10'000);
  EXPECT_EQ(convert_branches(text), 0u);
}

/// The method as docs/formats/cosmic-pack.md tells it, a byte at a time.
Bytes converted_by_the_book(Bytes data) {
  for (std::size_t p = 0; p + 4 < data.size();) {
    if ((data[p] & std::byte{0xfe}) != std::byte{0xe8}) {
      ++p;
      continue;
    }
    auto v = load_le<std::uint32_t>(&data[p + 1]);
    if (v >> 24 == 0 || v >> 24 == 0xff) {
      v = (v + static_cast<std::uint32_t>(p) + 5) % (1u << 25);
      if (v >> 24 != 0) v |= 0xfe00'0000;
      store_le(&data[p + 1], v);
    }
    p += 5;
  }
  return data;
}

TEST(BranchFilter, StopsWhereTheFormatSays) {
  std::mt19937_64 random{8};
  for (int round = 0; round < 2000; ++round) {
    // Several blocks, now and then several stretches, so that operands lie across their borders.
    Bytes data(random() % (round % 50 == 0 ? 20'000 : 400));
    for (std::byte& byte : data)
      byte = random() % 4 == 0 ? std::byte{0xe8} : static_cast<std::byte>(random() % 2 * 255);
    ASSERT_EQ(converted(data), converted_by_the_book(data)) << "round " << round;
  }
}

}  // namespace
}  // namespace stellarium::cas
