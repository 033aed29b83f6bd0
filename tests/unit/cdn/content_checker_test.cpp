#include "cdn/content_checker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cas/frame_format.h"
#include "support/frame_bytes.h"
#include "support/image_store.h"
#include "support/random_bytes.h"

namespace stellarium::cdn {
namespace {

using test::ImageStore;
using test::must;
using testing::HasSubstr;
using Bytes = std::vector<std::byte>;

/// What a pull has: a store, chunks that come in frames, and chunk lists that somebody claims.
class Checking : public testing::Test {
 protected:
  Checking() : session_{store_.contents->begin_session()} {}

  cas::Recipe recipe_of(const std::vector<Bytes>& chunks, std::uint32_t times = 1) {
    cas::Hasher hasher;
    cas::Recipe recipe;
    for (const Bytes& chunk : chunks) {
      for (std::uint32_t i = 0; i < times; ++i) hasher.update(chunk);
      recipe.append(cas::hash_of(chunk), static_cast<std::uint32_t>(chunk.size()), times);
    }
    recipe.content = hasher.finish();
    return recipe;
  }
  void expect(const std::vector<Bytes>& chunks) {
    for (const Bytes& chunk : chunks) missing_.insert(cas::hash_of(chunk));
  }
  void begin() { checker_.emplace(*store_.contents, *session_, recipes_, missing_); }
  /// A frame of these chunks arrives, as in a pull: the session has it first.
  Result<void> bring(const std::vector<Bytes>& chunks) {
    cas::FrameBuilder builder{cas::FrameKind::chunks};
    for (const Bytes& chunk : chunks) builder.add(cas::hash_of(chunk), chunk);
    const auto container = test::container_of(builder, compressor_);
    auto frame = std::make_shared<const cas::DecodedFrame>(
        must(cas::decode_frame(must(cas::parse_frame(container)), decompressor_)));
    must(session_->add_frame(container, *frame));
    return checker_->take(frame);
  }
  bool knows(const cas::Recipe& recipe) {
    must(session_->commit());
    return must(store_.contents->begin_session()->knows(recipe.content, recipe.size));
  }

  ImageStore store_;
  std::unique_ptr<cas::WriteSession> session_;
  std::vector<cas::Recipe> recipes_;
  std::unordered_set<cas::ChunkId, cas::HashOfHash> missing_;
  std::optional<ContentChecker> checker_;
  cas::Compressor compressor_{1};
  cas::Decompressor decompressor_;
  const Bytes a_ = test::random_bytes(1, 60'000), b_ = test::random_bytes(2, 60'000),
              c_ = test::random_bytes(3, 50'000);
};

TEST_F(Checking, GivesTheSessionWhatIsTrue) {
  recipes_ = {recipe_of({a_, b_}), recipe_of({b_, c_, a_})};
  expect({a_, b_, c_});
  begin();
  EXPECT_TRUE(bring({a_}));
  EXPECT_TRUE(bring({b_, c_}));
  EXPECT_TRUE(checker_->finish());
  EXPECT_TRUE(knows(recipes_[0]));
  EXPECT_TRUE(knows(recipes_[1]));
  EXPECT_EQ(must(store_.contents->recipe(recipes_[1].content, recipes_[1].size)), recipes_[1]);
}

TEST_F(Checking, RefusesTrueChunksInAnotherOrder) {
  recipes_ = {recipe_of({a_, b_, c_})};
  std::swap(recipes_[0].entries[0], recipes_[0].entries[1]);
  expect({a_, b_, c_});
  begin();
  EXPECT_TRUE(bring({a_, b_}));
  const auto taken = bring({c_});
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code, Errc::corrupt);
  EXPECT_THAT(taken.error().context, HasSubstr(recipes_[0].content.hex()));
  EXPECT_FALSE(knows(recipes_[0]));
}

TEST_F(Checking, ChecksRunsOfEqualChunks) {
  const Bytes zeros(65'536);
  recipes_ = {recipe_of({a_, zeros, b_}, 5), recipe_of({zeros}, 1000)};
  expect({a_, b_, zeros});
  begin();
  EXPECT_TRUE(bring({b_, zeros, a_}));
  EXPECT_TRUE(checker_->finish());
  EXPECT_TRUE(knows(recipes_[0]));
  EXPECT_TRUE(knows(recipes_[1]));
}

TEST_F(Checking, RefusesARunOfAnotherLength) {
  recipes_ = {recipe_of({a_}, 5)};
  recipes_[0].entries[0].repeat = 4;
  recipes_[0].size = 4 * a_.size();
  expect({a_});
  begin();
  EXPECT_EQ(bring({a_}).error().code, Errc::corrupt);
}

TEST_F(Checking, UsesWhatTheStoreHas) {
  begin();
  EXPECT_TRUE(bring({a_}));  // by another pull, a while ago
  must(session_->commit());
  recipes_ = {recipe_of({a_, b_})};
  expect({b_});
  begin();
  EXPECT_TRUE(bring({b_}));
  EXPECT_TRUE(checker_->finish());
  EXPECT_TRUE(knows(recipes_[0]));
}

TEST_F(Checking, ReadsBackWhatItHasForgotten) {
  const Bytes last = test::random_bytes(4, 10'000);
  recipes_ = {recipe_of({last, a_})};
  expect({a_, last});
  begin();
  EXPECT_TRUE(bring({a_}));
  for (std::uint64_t i = 0; i < 240; ++i) {  // 60 MiB of others, which it has no room for
    Bytes bytes = test::random_bytes(100 + i, 65'536);
    ASSERT_TRUE(bring({bytes, test::random_bytes(1000 + i, 65'536), test::random_bytes(2000 + i, 65'536),
                       test::random_bytes(3000 + i, 65'536)}));
  }
  EXPECT_TRUE(bring({last}));
  EXPECT_TRUE(checker_->finish());
  EXPECT_TRUE(knows(recipes_[0]));
}

TEST_F(Checking, NoticesAChunkThatNeverCame) {
  recipes_ = {recipe_of({a_, b_})};
  expect({a_, b_});
  begin();
  EXPECT_TRUE(bring({a_}));
  EXPECT_EQ(checker_->finish().error().code, Errc::not_found);
  EXPECT_FALSE(knows(recipes_[0]));
}

TEST_F(Checking, RefusesAChunkOfAnotherSize) {
  recipes_ = {recipe_of({a_, b_})};
  --recipes_[0].entries[1].size;
  expect({a_, b_});
  begin();
  EXPECT_EQ(bring({a_, b_}).error().code, Errc::corrupt);
}

TEST_F(Checking, PassesOverContentsThatAreThere) {
  recipes_ = {recipe_of({a_, b_}), recipe_of({b_, c_})};
  must(session_->begin(cas::Placement::data)->finish([&] {
    Bytes both = a_;
    both.insert(both.end(), b_.begin(), b_.end());
    return both;
  }()));
  must(session_->commit());
  expect({b_, c_});
  begin();
  EXPECT_TRUE(bring({b_, c_}));
  EXPECT_TRUE(checker_->finish());
  EXPECT_TRUE(knows(recipes_[1]));
}

}  // namespace
}  // namespace stellarium::cdn
