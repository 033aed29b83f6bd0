#include "tier/tier.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <random>
#include <thread>

#include "unit/tier/tier_fixture.h"

namespace stellarium::tier {
namespace {

using testing::eventually;
using testing::make_hot;
using testing::random_bytes;
using testing::read_all;
using testing::read_fd;
using testing::same_bytes;

class TierTest : public testing::TierFixture {};

TEST_F(TierTest, ReadsAreTheContentWhereverItLies) {
  const auto bytes = random_bytes(1, 3'000'001);
  const auto content = store_.add(bytes);
  open();
  EXPECT_TRUE(same_bytes(read_all(*tier_, content, 8192).value(), bytes));  // from frames
  ASSERT_TRUE(make_hot(*tier_, content));
  EXPECT_TRUE(same_bytes(read_all(*tier_, content, 8192).value(), bytes));  // from the hot file
  open();                                                                   // the same folder again
  store_.failing = true;
  EXPECT_TRUE(same_bytes(read_all(*tier_, content, 100'000).value(), bytes));
}

TEST_F(TierTest, AReadIsCutAtTheEnd) {
  const auto content = store_.add(random_bytes(1, 1000));
  open();
  std::vector<std::byte> out(500);
  EXPECT_EQ(tier_->read(content, 800, out).value(), 200u);
  EXPECT_EQ(tier_->read(content, 1000, out).value(), 0u);
  EXPECT_EQ(tier_->read(content, ~0ull, out).value(), 0u);
  EXPECT_EQ(tier_->read({cas::hash_of({}), 0}, 0, out).value(), 0u);
}

TEST_F(TierTest, ReadIfPresentNeverFetches) {
  const auto content = store_.add(random_bytes(1, 1000));
  open();
  std::vector<std::byte> out(1000);
  EXPECT_FALSE(tier_->read_if_present(content, 0, out));
  EXPECT_EQ(store_.fetches, 0u);
  ASSERT_TRUE(tier_->read(content, 0, out));
  EXPECT_EQ(tier_->read_if_present(content, 10, out), 990u);
}

TEST_F(TierTest, AnAsynchronousReadAnswersOnAThreadOfTheTier) {
  const auto bytes = random_bytes(1, 200'000);
  const auto content = store_.add(bytes);
  open();
  std::vector<std::byte> out(bytes.size());
  std::promise<std::pair<std::thread::id, std::size_t>> answered;
  tier_->read_async(content, 0, out, [&](Result<std::size_t> size) {
    answered.set_value({std::this_thread::get_id(), size.value()});
  });
  const auto [thread, size] = answered.get_future().get();
  EXPECT_NE(thread, std::this_thread::get_id());
  EXPECT_EQ(size, bytes.size());
  EXPECT_EQ(out, bytes);
}

TEST_F(TierTest, TheSecondReaderWithPagesOfItsOwnGetsAHotFile) {
  const auto once = store_.add(random_bytes(1, 100'000)), twice = store_.add(random_bytes(2, 100'000)),
             small = store_.add(random_bytes(3, 10'000));
  open();
  for (const auto& content : {once, twice, small}) tier_->note_reader(content);
  for (const auto& content : {twice, small}) tier_->note_reader(content);
  EXPECT_TRUE(eventually([&] { return tier_->find_hot(twice) != nullptr; }));
  EXPECT_FALSE(tier_->find_hot(once));
  EXPECT_FALSE(tier_->find_hot(small));
}

TEST_F(TierTest, AHotFileIsTheWholeContent) {
  for (const std::size_t size :
       {std::size_t{1}, std::size_t{4096}, std::size_t{65'536}, std::size_t{65'537}, std::size_t{5'000'000}}) {
    const auto bytes = random_bytes(size, size);
    const auto content = store_.add(bytes);
    open();
    const auto file = make_hot(*tier_, content);
    ASSERT_TRUE(file) << to_string(file.error());
    EXPECT_EQ((*file)->content(), content);
    EXPECT_TRUE(same_bytes(read_fd((*file)->fd(), size), bytes));
  }
}

TEST_F(TierTest, AHotFileKeepsHolesAsHoles) {
  testing::MemoryStore store{/*chunk_size=*/cas::kMaxChunk};
  auto bytes = random_bytes(1, 128u << 10);
  bytes.resize(20u << 20);
  const auto content = store.add(bytes);
  const auto tier = Tier::open(store, system_io(), hot_dir(), {.hot_budget = 1u << 20}).value();  // less than its size
  const auto file = make_hot(*tier, content);
  ASSERT_TRUE(file) << to_string(file.error());
  struct stat st {};
  ASSERT_EQ(::fstat((*file)->fd(), &st), 0);
  EXPECT_EQ(st.st_size, 20 << 20);
  EXPECT_LE(st.st_blocks * 512, 132 << 10);
  EXPECT_TRUE(same_bytes(read_fd((*file)->fd(), bytes.size()), bytes));
}

TEST_F(TierTest, ConcurrentFillsOfOneContentAreOne) {
  store_.delay = std::chrono::milliseconds{5};
  const auto content = store_.add(random_bytes(1, 60'000));
  open();
  std::vector<std::promise<HotFilePtr>> promises(20);
  for (auto& promise : promises) {
    tier_->make_hot(content, [&](Result<HotFilePtr> file) { promise.set_value(std::move(file.value())); });
  }
  const HotFilePtr first = promises[0].get_future().get();
  for (std::size_t i = 1; i < promises.size(); ++i) EXPECT_EQ(promises[i].get_future().get(), first);
  EXPECT_EQ(tier_->stats().fills, 1u);
  EXPECT_EQ(store_.fetches, 1u);
}

TEST_F(TierTest, ABigFillDecodesNoFrameTwice) {
  const auto content = store_.add(random_bytes(1, 16u << 20));  // 64 frames of 256 KiB
  open(kBudget, /*frame_budget=*/4u << 20);
  ASSERT_TRUE(make_hot(*tier_, content));
  EXPECT_LE(store_.fetches, 64u + 4u);
}

TEST_F(TierTest, ReadsDuringAFillAreRight) {
  store_.delay = std::chrono::microseconds{300};
  const auto bytes = random_bytes(1, 16u << 20);
  const auto content = store_.add(bytes);
  open();
  std::promise<void> filled;
  tier_->make_hot(content, [&](const Result<HotFilePtr>& file) {
    EXPECT_TRUE(file);
    filled.set_value();
  });
  std::mt19937 random{3};
  std::vector<std::byte> out(8192);
  auto done = filled.get_future();
  do {
    const std::size_t at = random() % (bytes.size() - out.size());
    ASSERT_EQ(tier_->read(content, at, out).value(), out.size());
    ASSERT_TRUE(same_bytes(out, ByteSpan{bytes}.subspan(at, out.size())));
  } while (done.wait_for(std::chrono::seconds{0}) != std::future_status::ready);
}

TEST_F(TierTest, ChunksThatAreNotTheContentNeverBecomeAHotFile) {
  const auto content = store_.add(random_bytes(1, 3'000'000));
  store_.flip_bits = true;
  open();
  const auto file = make_hot(*tier_, content);
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().code, Errc::corrupt);
  EXPECT_FALSE(std::filesystem::exists(file_of(content)));
  EXPECT_EQ(tier_->stats().hot_bytes, 0u);
  EXPECT_EQ(tier_->stats().fill_failures, 1u);
}

TEST_F(TierTest, ARecipeOfOtherChunksNeverBecomesAHotFile) {
  // One slice, several that are filled by two threads, and such with a hole where slices begin and end.
  const auto hole = [](std::vector<std::byte> bytes) {
    std::fill(bytes.begin() + (1 << 20), bytes.begin() + (5 << 20), std::byte{});
    return bytes;
  };
  std::uint64_t seed = 0;
  for (const auto& bytes : {random_bytes(1, 300'000), random_bytes(2, 9'000'000), hole(random_bytes(3, 9'000'000))}) {
    for (const std::size_t wrong : {std::size_t{0}, bytes.size() / 2, bytes.size() - 1}) {
      testing::MemoryStore store{/*chunk_size=*/cas::kMaxChunk};
      auto other = bytes;
      other[wrong] ^= std::byte{1};
      const ContentRef content{cas::hash_of(bytes), bytes.size()};
      store.add_wrong_recipe(content.id, store.add(other));
      const auto folder = folder_.path() / std::to_string(seed++);
      const auto tier = Tier::open(store, system_io(), folder, {.hot_budget = kBudget}).value();
      const auto file = make_hot(*tier, content);
      ASSERT_FALSE(file);
      EXPECT_EQ(file.error().code, Errc::corrupt);
      EXPECT_TRUE(std::filesystem::is_empty(folder / "files"));
    }
  }
}

TEST_F(TierTest, SlicesThatAreFilledOutOfOrderMakeTheContentAllTheSame) {
  // Frames arrive when they like, so every worker is overtaken now and then; some slices end in holes.
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    testing::MemoryStore store{/*chunk_size=*/cas::kMaxChunk};
    store.jitter = std::chrono::microseconds{400};
    auto bytes = random_bytes(seed, (12u << 20) + 12'345);
    std::fill(bytes.begin() + (3 << 20), bytes.begin() + (4 << 20) + 1000, std::byte{});
    const auto content = store.add(bytes);
    const auto folder = folder_.path() / std::to_string(seed);
    const auto tier = Tier::open(store, system_io(), folder, {.hot_budget = kBudget, .fill_threads = 3}).value();
    const auto file = make_hot(*tier, content);
    ASSERT_TRUE(file) << to_string(file.error());
    EXPECT_TRUE(same_bytes(read_fd((*file)->fd(), bytes.size()), bytes));
  }
}

TEST_F(TierTest, AnUnknownContentIsNotFound) {
  open();
  const auto bytes = random_bytes(1, 10);
  const ContentRef content{cas::hash_of(bytes), 10};
  std::vector<std::byte> out(10);
  EXPECT_EQ(tier_->read(content, 0, out).error().code, Errc::not_found);
  EXPECT_EQ(make_hot(*tier_, content).error().code, Errc::not_found);
}

TEST_F(TierTest, SequentialReadsAreDecodedAhead) {
  const auto content = store_.add(random_bytes(1, 8u << 20));
  open();
  std::vector<std::byte> out(128u << 10);
  ASSERT_TRUE(tier_->read(content, 0, out));
  ASSERT_TRUE(tier_->read(content, out.size(), out));
  // Nobody asks the source from here on; the frames come all the same, and go on coming.
  for (std::size_t at = 2 * out.size(); at < content.size; at += out.size()) {
    EXPECT_TRUE(testing::eventually([&] { return tier_->read_if_present(content, at, out).has_value(); })) << at;
  }
}

TEST_F(TierTest, StoppingInTheMiddleOfAFillLeavesNothing) {
  store_.delay = std::chrono::milliseconds{2};
  const auto content = store_.add(random_bytes(1, 16u << 20));
  open();
  std::promise<Errc> answered;
  tier_->make_hot(content,
                  [&](const Result<HotFilePtr>& file) { answered.set_value(file ? Errc::io : file.error().code); });
  tier_.reset();
  EXPECT_EQ(answered.get_future().get(), Errc::cancelled);
  EXPECT_TRUE(std::filesystem::is_empty(hot_dir() / "files"));
}

TEST_F(TierTest, ManyThreadsReadFillAndEvictAtOnce) {
  std::vector<std::vector<std::byte>> bytes;
  std::vector<ContentRef> contents;
  for (std::uint64_t i = 0; i < 24; ++i) {
    bytes.push_back(random_bytes(i, 1000 + i * 20'000));
    contents.push_back(store_.add(bytes.back()));
  }
  open(/*hot_budget=*/2u << 20, /*frame_budget=*/1u << 20);
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random{t};
      for (int i = 0; i < 150; ++i) {
        const std::size_t n = random() % contents.size();
        if (i % 10 == 0) tier_->evict(contents[random() % contents.size()].id);
        if (i % 3 == 0) {
          const auto file = make_hot(*tier_, contents[n]);  // fails when all room is in use
          if (file) {
            EXPECT_TRUE(same_bytes(read_fd((*file)->fd(), contents[n].size), bytes[n]));
          }
        } else {
          EXPECT_TRUE(same_bytes(read_all(*tier_, contents[n], 100'000).value(), bytes[n]));
        }
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_LE(tier_->stats().hot_bytes, 2u << 20);
}

}  // namespace
}  // namespace stellarium::tier
