#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

#include "cdn/completion.h"
#include "cdn/lazy_contents.h"
#include "support/golden.h"
#include "support/published_tree.h"

namespace stellarium::cdn {
namespace {

using test::ImageStore;
using test::must;
using test::random_text;

/// A folder that can be cut off, and that counts.
class Line final : public ObjectReader {
 public:
  explicit Line(std::unique_ptr<FolderObjects> folder) : folder_{std::move(folder)} {}
  void fetch(ObjectRequest request, Done done) override {
    ++requests;
    distrusted += request.distrusted;
    if (is_cut) return done(fail(Errc::unavailable, "the line is cut"));
    if (flips_first && request.distrusted == 0) {
      return folder_->fetch(std::move(request), [done = std::move(done)](Result<std::string> bytes) {
        if (bytes) bytes->back() ^= 1;
        done(std::move(bytes));
      });
    }
    folder_->fetch(std::move(request), std::move(done));
  }
  Counters counters() const override { return {}; }

  std::atomic<unsigned> requests = 0, distrusted = 0;
  std::atomic<bool> is_cut = false, flips_first = false;

 private:
  std::unique_ptr<FolderObjects> folder_;
};

class Lazy : public testing::Test {
 protected:
  Lazy() {
    must(from_.import("a", test::published_tar()));
    manifest_ = folder_.publish(from_, "a").manifest;
    line_ = std::make_shared<Line>(folder_.open());
    open();
    Puller puller{{*to_.database, *to_.contents, *to_.catalog, to_.scratch()},
                  *line_,
                  {},
                  [&](const cas::ContentId& layer, const std::string& text) {
                    return lazy_->add(layer, {"far", text, true});
                  }};
    must(puller.pull(manifest_, must(fs::ImageName::parse("b")), "test", {}));
    line_->requests = 0;
  }
  ~Lazy() override {
    tier_.reset();
    lazy_.reset();
  }
  void open() {
    lazy_ = std::make_unique<LazyContents>(*to_.database, *to_.contents);
    must(lazy_->open());
    lazy_->set_readers([this](const std::string& remote) -> Result<std::shared_ptr<ObjectReader>> {
      if (remote != "far") return fail(Errc::not_found, "no remote " + remote);
      return line_;
    });
    tier::Tier::Options options;
    options.private_mount = false;
    options.remote = lazy_.get();
    tier_ = must(tier::Tier::open(*to_.contents, system_io(), to_.path() / "hot", options));
  }
  tier::ContentRef content(const std::string& path) const {
    const fs::Inode inode = to_.stat("b", path);
    return {inode.content, inode.size};
  }
  Result<std::string> read(const std::string& path) {
    const tier::ContentRef ref = content(path);
    std::string bytes(ref.size, '\0');
    const auto read = tier_->read(ref, 0, std::as_writable_bytes(std::span{bytes}));
    if (!read) return fail(read.error());
    bytes.resize(*read);
    return bytes;
  }
  Result<tier::HotFilePtr> make_hot(const std::string& path) {
    std::promise<Result<tier::HotFilePtr>> promise;
    tier_->make_hot(content(path), [&](Result<tier::HotFilePtr> file) { promise.set_value(std::move(file)); });
    return promise.get_future().get();
  }

  test::PublishedFolder folder_;
  ImageStore from_, to_;
  cas::Hash manifest_;
  std::shared_ptr<Line> line_;
  std::unique_ptr<LazyContents> lazy_;
  std::unique_ptr<tier::Tier> tier_;
};

TEST(LazyRecord, IsStoredAsDocumented) {
  const LazyRecord record{"far", "{\"stellarium\":1}\n", false};
  const std::string bytes = encode_lazy(record);
  EXPECT_EQ(test::golden_or_write("lazy-record-v1.bin", bytes), bytes);
  const LazyRecord read = must(decode_lazy(bytes));
  EXPECT_EQ(std::tuple(read.remote, read.manifest, read.completes), std::tuple(record.remote, record.manifest, false));
  for (std::size_t size = 0; size < 7; ++size)
    EXPECT_EQ(decode_lazy(bytes.substr(0, size)).error().code, Errc::corrupt);
  EXPECT_FALSE(decode_lazy("\2" + bytes.substr(1)));
}

TEST_F(Lazy, TheTreeIsThereBeforeItsContents) {
  EXPECT_EQ(to_.stat("b", "/usr/share/large").size, 2'000'000u);
  EXPECT_EQ(to_.stat("b", "/usr/share/tiny").inline_bytes, "inline");
  EXPECT_FALSE(must(to_.contents->has_chunk(content("/usr/share/doc7").id)));
  EXPECT_EQ(line_->requests, 0u);
}

TEST_F(Lazy, WhatIsReadComesInOneRequestAndStays) {
  EXPECT_EQ(must(read("/usr/share/large")), random_text(3, 2'000'000));
  EXPECT_EQ(line_->requests, 1u);
  line_->is_cut = true;
  EXPECT_EQ(must(read("/usr/share/again")), random_text(3, 2'000'000));
  EXPECT_EQ(must(read("/usr/share/large")).size(), 2'000'000u);
  EXPECT_EQ(line_->requests, 1u);
}

TEST_F(Lazy, NeighboursOfSmallFilesComeWithThem) {
  ASSERT_EQ(must(read("/usr/share/doc7")).size(), content("/usr/share/doc7").size);
  line_->is_cut = true;
  unsigned there = 0;
  for (int i = 0; i < 200; ++i) there += read("/usr/share/doc" + std::to_string(i)) ? 1 : 0;
  EXPECT_GT(there, 20u);
  EXPECT_LT(there, 200u);
}

TEST_F(Lazy, AProgramBecomesAHotFile) {
  const auto file = must(make_hot("/usr/bin/tool"));
  EXPECT_EQ(file->content().size, 300'004u);
}

TEST_F(Lazy, ManyReadersOfOneThingWaitForOneRequest) {
  std::vector<std::future<Result<std::string>>> readers;
  for (int i = 0; i < 8; ++i)
    readers.push_back(std::async(std::launch::async, [this] { return read("/usr/share/large"); }));
  for (auto& reader : readers) EXPECT_EQ(must(reader.get()), random_text(3, 2'000'000));
  EXPECT_EQ(line_->requests, 1u);
}

TEST_F(Lazy, WithoutALineMissingBytesAreAnErrorAndPresentOnesAreNot) {
  ASSERT_TRUE(read("/usr/share/doc7"));
  line_->is_cut = true;
  EXPECT_EQ(read("/usr/share/large").error().code, Errc::unavailable);
  EXPECT_EQ(make_hot("/usr/bin/tool").error().code, Errc::unavailable);
  EXPECT_TRUE(read("/usr/share/doc7"));
  line_->is_cut = false;
  EXPECT_TRUE(read("/usr/share/large"));
  EXPECT_TRUE(make_hot("/usr/bin/tool"));
}

TEST_F(Lazy, WrongBytesAreAskedForAgainElsewhere) {
  line_->flips_first = true;
  EXPECT_EQ(must(read("/usr/share/large")), random_text(3, 2'000'000));
  EXPECT_EQ(line_->distrusted, 1u);
  EXPECT_EQ(lazy_->stats().distrusted, 1u);
}

TEST_F(Lazy, WrongBytesFromEverywhereAreNeverShown) {
  folder_.damage(blob_path(folder_.manifest(manifest_).bundles.at(0).id), false);  // in the largest file
  EXPECT_EQ(read("/usr/share/large").error().code, Errc::corrupt);
  EXPECT_EQ(line_->requests, 1 + FrameFetcher::kMaxDistrust);
  EXPECT_EQ(must(read("/usr/share/doc7")), from_.content(from_.stat("a", "/usr/share/doc7")));
}

TEST_F(Lazy, AnotherServerGoesOn) {
  ASSERT_TRUE(read("/usr/share/doc7"));
  tier_.reset();
  lazy_.reset();
  open();
  EXPECT_TRUE(lazy_->any());
  EXPECT_EQ(must(read("/usr/share/large")), random_text(3, 2'000'000));
}

TEST_F(Lazy, GarbageCollectionKeepsWhatHasCome) {
  ASSERT_TRUE(read("/usr/share/large"));
  const auto live = lazy_->with_lazy(to_.catalog->live_contents());
  must(to_.contents->collect(live, false, false, {}));
  line_->is_cut = true;
  EXPECT_EQ(must(to_.contents->check(true, {})).damage.size(), 0u);
  EXPECT_TRUE(lazy_->expects(content("/usr/share/doc7").id));
  tier_.reset();
  lazy_.reset();
  open();
  EXPECT_EQ(must(read("/usr/share/large")), random_text(3, 2'000'000));
}

TEST_F(Lazy, ACompleteImageIsLikeAnyOther) {
  ASSERT_TRUE(read("/usr/share/large"));
  must(complete(*lazy_, *to_.contents, lazy_->images().front(), *line_, Urgency::soon, {}));
  EXPECT_FALSE(lazy_->any());
  line_->is_cut = true;
  EXPECT_EQ(to_.content(to_.stat("b", "/usr/share/zeros")), from_.content(from_.stat("a", "/usr/share/zeros")));
  EXPECT_EQ(must(read("/usr/share/large")), random_text(3, 2'000'000));
  must(to_.contents->collect(to_.catalog->live_contents(), false, false, {}));
  EXPECT_EQ(must(read("/usr/share/doc199")), from_.content(from_.stat("a", "/usr/share/doc199")));
}

TEST_F(Lazy, CompletionTriesAgainWhenTheLineIsBack) {
  line_->is_cut = true;
  Completion completion{*lazy_,
                        *to_.contents,
                        {.rate = 0, .quiet = std::chrono::milliseconds{0}, .first_pause = std::chrono::seconds{0}}};
  while (line_->requests < 2) std::this_thread::yield();
  EXPECT_TRUE(lazy_->any());
  line_->is_cut = false;
  while (lazy_->any()) std::this_thread::yield();
  line_->is_cut = true;
  EXPECT_EQ(must(read("/usr/share/large")), random_text(3, 2'000'000));
}

TEST_F(Lazy, AStoreThatClosesWaitsForNoLine) {
  lazy_->stop();
  EXPECT_EQ(read("/usr/share/large").error().code, Errc::cancelled);
}

}  // namespace
}  // namespace stellarium::cdn
