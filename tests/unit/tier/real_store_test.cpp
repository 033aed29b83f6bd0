// The tier over the real content store: the same bytes from everywhere, and damage in segments that never gets past it.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "support/fault_io.h"
#include "unit/cas/store_fixture.h"
#include "unit/tier/tier_fixture.h"

namespace stellarium::tier {
namespace {

using testing::make_hot;
using testing::read_all;
using testing::read_fd;
using testing::same_bytes;

class RealStoreTest : public ::testing::Test {
 protected:
  ContentRef add(const test::Bytes& bytes, cas::Placement placement = cas::Placement::data) {
    return {test::store(*store_, bytes, placement), bytes.size()};
  }
  std::unique_ptr<Tier> open_tier() {
    return Tier::open(*store_, system_io(), store_.dir() / "hot", {.hot_budget = 256u << 20, .frame_budget = 4u << 20})
        .value();
  }

  test::TestStore store_;
};

TEST_F(RealStoreTest, EverySizeIsReadAndFilledRight) {
  const std::vector<std::size_t> sizes{1, 100, 16'384, 16'385, 65'536, 65'537, 262'144, 1'000'003, 9'000'000};
  for (const auto placement : {cas::Placement::data, cas::Placement::program}) {
    for (const std::size_t size : sizes) {
      const auto bytes = test::text_bytes(size + static_cast<std::size_t>(placement), size);
      const ContentRef content = add(bytes, placement);
      const auto tier = open_tier();
      EXPECT_TRUE(same_bytes(read_all(*tier, content, 10'000).value(), bytes)) << size;
      const auto file = make_hot(*tier, content);
      ASSERT_TRUE(file) << to_string(file.error());
      EXPECT_TRUE(same_bytes(read_fd((*file)->fd(), size), bytes)) << size;
    }
  }
}

TEST_F(RealStoreTest, AHoleTakesNoRoomInTheHotFile) {
  const auto session = store_->begin_session();
  const auto writer = session->begin(cas::Placement::data);
  ASSERT_TRUE(writer->append(test::random_bytes(1, 50'000)));
  ASSERT_TRUE(writer->append_zeros(1u << 30));
  ASSERT_TRUE(writer->append(test::random_bytes(2, 50'000)));
  const auto id = writer->finish();
  ASSERT_TRUE(id);
  ASSERT_TRUE(session->commit());
  const ContentRef content{*id, (1u << 30) + 100'000};
  const auto tier = open_tier();
  std::vector<std::byte> out(1u << 20, std::byte{1});
  ASSERT_TRUE(tier->read(content, 500u << 20, out));
  EXPECT_EQ(out, std::vector<std::byte>(out.size()));
  ASSERT_TRUE(make_hot(*tier, content));
  EXPECT_LE(tier->stats().hot_bytes, 1u << 20);
}

TEST_F(RealStoreTest, SmallFilesOfOnePackCostOneDecode) {
  std::vector<ContentRef> contents;
  {
    const auto session = store_->begin_session();
    for (std::uint64_t seed = 0; seed < 40; ++seed) {
      contents.push_back({test::write(*session, test::text_bytes(seed, 1200)).value(), 1200});
    }
    ASSERT_TRUE(session->commit());
  }
  const auto tier = open_tier();
  for (const ContentRef& content : contents) ASSERT_TRUE(read_all(*tier, content, 4096));
  EXPECT_EQ(store_->stats().frames_decoded, 1u);
}

TEST_F(RealStoreTest, ABigFillDecodesHardlyAnyFrameTwice) {
  const ContentRef content = add(test::random_bytes(1, 32u << 20));
  const auto tier = open_tier();
  ASSERT_TRUE(make_hot(*tier, content));
  // 128 frames if all were full; the last of each slice is needed by the next, too, and is mostly still in memory.
  EXPECT_LE(store_->stats().frames_decoded, 150u);
}

TEST_F(RealStoreTest, ASliceIsWrittenAtOnce) {
  constexpr std::size_t kSlice = 2u << 20;
  const std::vector<std::byte> bytes = test::random_bytes(1, 2 * kSlice + 1000);
  const ContentRef content = add(bytes);
  test::FaultIo io;
  const auto tier = Tier::open(*store_, io, store_.dir() / "hot", {.hot_budget = 256u << 20, .frame_budget = 4u << 20});
  ASSERT_TRUE(tier);
  ASSERT_TRUE(make_hot(**tier, add(test::text_bytes(2, 1000))));  // the first fill also writes what it trusts
  const std::size_t before = io.calls().size();
  const auto file = make_hot(**tier, content);
  ASSERT_TRUE(file);
  EXPECT_TRUE(same_bytes(read_fd((*file)->fd(), bytes.size()), bytes));
  const std::vector<std::string> calls = io.calls();
  EXPECT_EQ(std::count(calls.begin() + static_cast<std::ptrdiff_t>(before), calls.end(), "write_parts_at"), 3);
}

TEST_F(RealStoreTest, DamageInASegmentReachesNeitherAReplyNorAHotFile) {
  const auto bytes = test::text_bytes(1, 2'000'000);
  const ContentRef content = add(bytes);
  for (const auto& segment : std::filesystem::directory_iterator{store_.segments()}) {
    std::fstream file{segment.path(), std::ios::in | std::ios::out | std::ios::binary};
    const auto middle = static_cast<std::streamoff>(segment.file_size() / 2);
    file.seekg(middle);
    const char byte = static_cast<char>(file.get() ^ 0x10);
    file.seekp(middle);
    file.put(byte);
  }
  const auto tier = open_tier();
  const auto read = read_all(*tier, content, 4096);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, Errc::corrupt);
  const auto file = make_hot(*tier, content);
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().code, Errc::corrupt);
  // What is not damaged is still served.
  std::vector<std::byte> out(4096);
  ASSERT_TRUE(tier->read(content, 0, out));
  EXPECT_TRUE(std::equal(out.begin(), out.end(), bytes.begin()));
}

}  // namespace
}  // namespace stellarium::tier
