#include "fs/entry_sorter.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "support/temp_dir.h"

namespace stellarium::fs {
namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;

Pairs random_pairs(std::size_t count) {
  std::mt19937_64 random{7};
  Pairs pairs;
  for (std::size_t i = 0; i < count; ++i)
    pairs.emplace_back(std::string(random() % 20, 'p') + std::to_string(random() % 500), std::to_string(i));
  return pairs;
}

Pairs sorted(const std::filesystem::path& scratch, std::size_t memory, const Pairs& pairs) {
  EntrySorter sorter{scratch, memory};
  for (const auto& [key, value] : pairs) EXPECT_TRUE(sorter.add(key, value));
  Pairs out;
  while (true) {
    const auto next = sorter.next();
    EXPECT_TRUE(next) << to_string(next.error());
    if (!next || !*next) return out;
    out.emplace_back((*next)->key, (*next)->value);
  }
}

TEST(EntrySorter, SortsByKeyAndKeepsTheOrderOfEqualKeys) {
  const test::TempDir dir;
  const Pairs pairs = random_pairs(5000);
  Pairs expected = pairs;
  std::ranges::stable_sort(expected, {}, &Pairs::value_type::first);
  EXPECT_EQ(sorted(dir.path(), 1u << 20, pairs), expected);
}

TEST(EntrySorter, GivesTheSameOrderWhenItSpills) {
  const test::TempDir dir;
  const Pairs pairs = random_pairs(5000);
  EXPECT_EQ(sorted(dir.path(), 4096, pairs), sorted(dir.path(), 1u << 20, pairs));
}

TEST(EntrySorter, LeavesNoFileBehindAndNeedsNoneForLittle) {
  const test::TempDir dir;
  sorted(dir.path(), 4096, random_pairs(1000));
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
  EXPECT_EQ(sorted("/nonexistent", 1u << 20, random_pairs(100)).size(), 100u);
}

TEST(EntrySorter, ReportsAScratchFolderThatIsNotThere) {
  EntrySorter sorter{"/nonexistent", 1024};
  Result<void> added;
  for (int i = 0; i < 100 && added; ++i) added = sorter.add("key", std::string(50, 'v'));
  ASSERT_FALSE(added);
  EXPECT_EQ(added.error().code, Errc::not_found);
}

TEST(EntrySorter, OfNothingIsEmpty) {
  EXPECT_TRUE(sorted("/nonexistent", 1024, {}).empty());
}

}  // namespace
}  // namespace stellarium::fs
