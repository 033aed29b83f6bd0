#include "cas/chunker.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <numeric>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "cas/chunker_gear.h"
#include "cas/hash.h"
#include "support/random_bytes.h"
#include "support/sanitized.h"

namespace stellarium::cas {
namespace {

using test::random_bytes;

constexpr Chunker::Params kSmall{.min = 256, .avg = 1024, .max = 4096};  // bytes
using Sizes = std::vector<std::uint64_t>;

/// The sizes of the chunks of `data`, given to the chunker in spans of `feed` bytes.
Sizes cut(const Chunker::Params& params, ByteSpan data, std::size_t feed) {
  Chunker chunker{params};
  Sizes sizes;
  std::uint64_t open = 0;
  while (!data.empty()) {
    const auto step = chunker.next(data.first(std::min(feed, data.size())));
    data = data.subspan(step.taken);
    open += step.taken;
    EXPECT_EQ(chunker.open_size(), step.cut ? 0 : open);
    if (step.cut) sizes.push_back(std::exchange(open, 0));
  }
  if (open > 0) sizes.push_back(open);
  return sizes;
}

/// The definition, one byte and one whole window at a time: what the fast loops must agree with.
Sizes cut_by_definition(const Chunker::Params& params, ByteSpan data) {
  const int bits = std::countr_zero(params.avg);
  const auto mask = [](int count) { return ((std::uint64_t{1} << count) - 1) << (60 - count); };
  Sizes sizes;
  std::size_t begin = 0;
  for (std::size_t end = 1; end <= data.size(); ++end) {
    const std::size_t size = end - begin;
    if (size < params.min) continue;
    std::uint64_t hash = 0;
    for (const std::byte byte : data.subspan(end - 64, 64)) hash = (hash << 1) + kGear[std::to_integer<unsigned>(byte)];
    if (size < params.max && (hash & mask(size < params.avg ? bits + 2 : bits - 2)) != 0) continue;
    sizes.push_back(size);
    begin = end;
  }
  if (begin < data.size()) sizes.push_back(data.size() - begin);
  return sizes;
}

std::vector<Hash> chunk_ids(const Chunker::Params& params, ByteSpan data) {
  std::vector<Hash> ids;
  for (const std::uint64_t size : cut(params, data, data.size())) {
    ids.push_back(hash_of(data.first(size)));
    data = data.subspan(size);
  }
  return ids;
}

std::size_t count_new(const std::vector<Hash>& before, const std::vector<Hash>& after) {
  const std::set<Hash> known{before.begin(), before.end()};
  return static_cast<std::size_t>(std::ranges::count_if(after, [&](const Hash& id) { return !known.contains(id); }));
}

TEST(Chunker, CutsWhereItsDefinitionSays) {
  const auto data = random_bytes(/*seed=*/3, 200'000);
  EXPECT_EQ(cut(kSmall, data, data.size()), cut_by_definition(kSmall, data));
}

TEST(Chunker, CutsDoNotDependOnHowTheStreamIsSplit) {
  const auto data = random_bytes(/*seed=*/7, 100'000);
  const Sizes whole = cut(kSmall, data, data.size());
  for (const std::size_t feed : {1u, 2u, 3u, 63u, 255u, 256u, 257u, 1023u, 4096u, 5000u})
    EXPECT_EQ(cut(kSmall, data, feed), whole) << feed;
}

TEST(Chunker, CutsWhereItsDefinitionSaysWithinRunsAndSpansOfAnySize) {
  constexpr Chunker::Params kTiny{.min = 64, .avg = 256, .max = 1000};  // many cuts, at every place of a loop's turn
  std::mt19937_64 random{13};
  for (int round = 0; round < test::rounds(40); ++round) {
    std::vector<std::byte> data;
    while (data.size() < 20'000) {
      const auto noise = random_bytes(random(), random() % 700);
      data.insert(data.end(), noise.begin(), noise.end());
      data.insert(data.end(), random() % 700, static_cast<std::byte>(random() % 4 == 0 ? random() : 0));
    }
    const Sizes expected = cut_by_definition(kTiny, data);
    for (const std::size_t feed : {std::size_t{1}, 1 + random() % 9, 1 + random() % 100, data.size()})
      EXPECT_EQ(cut(kTiny, data, feed), expected) << "round " << round << ", spans of " << feed;
  }
}

TEST(Chunker, NeverChangesWhereItCuts) {
  // Stores that exist depend on these numbers: a difference means that nothing new would match what is stored.
  const auto data = random_bytes(/*seed=*/11, 400'000);
  EXPECT_EQ(cut(Chunker::Params{}, data, data.size()),
            (Sizes{25805, 65536, 30612, 35412, 33162, 39430, 49004, 14685, 36934, 39663, 29757}));
}

TEST(Chunker, KeepsToItsLimitsAndComesNearTheAverage) {
  const auto data = random_bytes(/*seed=*/5, 16 << 20);
  const Chunker::Params params;
  Sizes sizes = cut(params, data, data.size());
  EXPECT_EQ(std::accumulate(sizes.begin(), sizes.end(), std::uint64_t{0}), data.size());
  sizes.pop_back();  // the last one ends with the data
  EXPECT_GE(*std::ranges::min_element(sizes), params.min);
  EXPECT_LE(*std::ranges::max_element(sizes), params.max);
  EXPECT_NEAR(static_cast<double>(data.size()) / static_cast<double>(sizes.size()), params.avg, params.avg * 0.25);
}

TEST(Chunker, AnInsertedByteMovesOnlyNearbyCuts) {
  auto data = random_bytes(/*seed=*/7, 100'000);
  const auto before = chunk_ids(kSmall, data);
  data.insert(data.begin() + 50'000, std::byte{1});
  EXPECT_LE(count_new(before, chunk_ids(kSmall, data)), 3u);
}

TEST(Chunker, ARunOfOneByteIsCutAtMaxOnly) {
  const Chunker::Params params;
  for (unsigned byte = 0; byte < 256; ++byte) {
    const std::vector<std::byte> run(3 * params.max, static_cast<std::byte>(byte));
    EXPECT_EQ(cut(params, run, run.size()), Sizes(3, params.max)) << byte;
  }
}

TEST(Chunker, ZerosThatDoNotExistAreCutAsRealOnes) {
  std::mt19937_64 random{9};
  for (int round = 0; round < 200; ++round) {
    const auto before = random_bytes(random(), random() % 6000);
    const std::size_t zeros = random() % 12'000;
    const auto after = random_bytes(random(), random() % 6000);
    std::vector<std::byte> real = before;
    real.insert(real.end(), zeros, std::byte{0});
    real.insert(real.end(), after.begin(), after.end());

    Chunker chunker{kSmall};
    Sizes sizes;
    std::uint64_t open = 0;
    const auto note = [&](const auto& step) {
      open += step.taken;
      if (step.cut) sizes.push_back(std::exchange(open, 0));
      return step.taken;
    };
    for (ByteSpan rest{before}; !rest.empty();) rest = rest.subspan(note(chunker.next(rest)));
    for (std::uint64_t rest = zeros; rest > 0;)
      rest -= note(chunker.next_zeros(std::min<std::uint64_t>(rest, 1 + random() % 9000)));
    for (ByteSpan rest{after}; !rest.empty();) rest = rest.subspan(note(chunker.next(rest)));
    if (open > 0) sizes.push_back(open);
    EXPECT_EQ(sizes, cut(kSmall, real, real.size())) << "round " << round;
  }
}

TEST(Chunker, TenGigabytesOfZerosAreWholeChunksAtOnce) {
  Chunker chunker;
  constexpr std::uint64_t kZeros = 10'000'000'000;
  const std::uint64_t whole = chunker.whole_zero_bytes(kZeros);
  EXPECT_EQ(whole % chunker.params().max, 0u);
  EXPECT_LT(kZeros - whole, chunker.params().max);
  EXPECT_EQ(chunker.open_size(), 0u);
  const auto rest = chunker.next_zeros(kZeros - whole);
  EXPECT_EQ(rest.taken, kZeros - whole);
  EXPECT_FALSE(rest.cut);
  EXPECT_EQ(chunker.whole_zero_bytes(kZeros), 0u) << "a chunk is open";
}

TEST(Chunker, BeginsAnewAfterReset) {
  const auto data = random_bytes(/*seed=*/2, 50'000);
  Chunker chunker{kSmall};
  const auto first = chunker.next(data);
  chunker.next(ByteSpan{data}.subspan(first.taken, 100));
  chunker.reset();
  EXPECT_EQ(chunker.next(data).taken, first.taken);
}

TEST(Chunker, TakesNothingFromNothing) {
  Chunker chunker;
  EXPECT_EQ(chunker.next({}).taken, 0u);
  EXPECT_FALSE(chunker.next({}).cut);
  EXPECT_EQ(chunker.next_zeros(0).taken, 0u);
}

TEST(ChunkerParams, KnowWhatMakesSense) {
  EXPECT_TRUE(Chunker::Params{}.valid());
  EXPECT_TRUE(kSmall.valid());
  EXPECT_FALSE((Chunker::Params{.min = 63, .avg = 1024, .max = 4096}.valid()));
  EXPECT_FALSE((Chunker::Params{.min = 1024, .avg = 1024, .max = 4096}.valid()));
  EXPECT_FALSE((Chunker::Params{.min = 256, .avg = 1000, .max = 4096}.valid()));
  EXPECT_FALSE((Chunker::Params{.min = 256, .avg = 4096, .max = 4096}.valid()));
  EXPECT_FALSE((Chunker::Params{.min = 64, .avg = 128, .max = 4096}.valid()));
  EXPECT_FALSE((Chunker::Params{.min = 64, .avg = 1024, .max = 1u << 31}.valid()));
  EXPECT_FALSE((Chunker::Params{.min = 0, .avg = 0, .max = 0}.valid()));
}

}  // namespace
}  // namespace stellarium::cas
