#include "cdn/frame_fetcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <thread>

#include "cas/frame_format.h"
#include "support/frame_bytes.h"
#include "support/random_bytes.h"

namespace stellarium::cdn {
namespace {

using testing::HasSubstr;

/// Objects in memory, whose answers a test can change.
class ScriptedReader final : public ObjectReader {
 public:
  /// What comes instead of `bytes`.
  using Change = std::function<Result<std::string>(const ObjectRequest&, std::string bytes)>;

  void fetch(ObjectRequest request, Done done) override {
    Result<std::string> answer;
    {
      const MutexLock lock{mutex_};
      requests.push_back(request);
      under_way += request.size.value_or(0);
      most_under_way = std::max(most_under_way, under_way);
      most_at_a_time = std::max(most_at_a_time, ++at_a_time);
    }
    const auto found = objects.find(request.path);
    if (found == objects.end())
      answer = fail(Errc::not_found, request.path);
    else
      answer = found->second.substr(request.offset, request.size.value_or(std::string::npos));
    if (answer && change) answer = change(request, *std::move(answer));
    if (!later && (later_but.empty() || later_but == request.path)) return done(std::move(answer));
    const MutexLock lock{mutex_};
    waiting.push_back([done, answer = std::move(answer)] { done(answer); });
  }
  Counters counters() const override { return {}; }
  std::size_t answers_waiting() {
    const MutexLock lock{mutex_};
    return waiting.size();
  }
  /// The fetcher has taken it.
  void taken(std::uint64_t size) {
    const MutexLock lock{mutex_};
    under_way -= size;
    --at_a_time;
  }

  std::map<std::string, std::string> objects;
  Change change;
  bool later = false;     ///< answers wait for the test
  std::string later_but;  ///< those of all other objects do
  std::vector<std::function<void()>> waiting;

  std::vector<ObjectRequest> requests;
  std::uint64_t under_way = 0, most_under_way = 0;
  unsigned at_a_time = 0, most_at_a_time = 0;

 private:
  Mutex mutex_;
};

class FrameFetching : public testing::Test {
 protected:
  /// Adds an object of `frames` frames of two chunks each, as one range.
  void add_range(std::size_t frames, std::size_t chunk_size = 500) {
    WantedRange range{"blobs/" + std::to_string(ranges_.size()), {}};
    std::string object;
    for (std::size_t f = 0; f < frames; ++f) {
      cas::FrameBuilder builder{cas::FrameKind::chunks};
      WantedFrame wanted{object.size(), 0, {}};
      for (int c = 0; c < 2; ++c) {
        const auto bytes = test::random_bytes(++seed_, chunk_size);
        builder.add(cas::hash_of(bytes), bytes);
        wanted.chunks.push_back({cas::hash_of(bytes), static_cast<std::uint32_t>(bytes.size())});
      }
      const auto container = test::container_of(builder, compressor_);
      wanted.stored = static_cast<std::uint32_t>(container.size());
      object += as_text(container);
      range.frames.push_back(std::move(wanted));
    }
    reader_.objects[range.path] = object;
    ranges_.push_back(std::move(range));
  }
  /// The first chunk of each frame that was handed out.
  Result<std::vector<cas::ChunkId>> fetch(const FrameFetcher::Options& options = {}) {
    FrameFetcher fetcher{reader_, options};
    std::vector<cas::ChunkId> ids;
    auto done = fetcher.fetch(ranges_, [&](const FetchedFrame& fetched) -> Result<void> {
      EXPECT_EQ(fetched.frame->entries.size(), 2u);
      EXPECT_TRUE(cas::parse_frame(fetched.container));
      ids.push_back(fetched.frame->entries[0].id);
      return {};
    });
    if (!done) return fail(std::move(done).error());
    return ids;
  }
  std::vector<cas::ChunkId> wanted_ids() const {
    std::vector<cas::ChunkId> ids;
    for (const WantedRange& range : ranges_)
      for (const WantedFrame& frame : range.frames) ids.push_back(frame.chunks[0].id);
    return ids;
  }
  std::vector<unsigned> distrusted_of(const std::string& path) const {
    std::vector<unsigned> asked;
    for (const ObjectRequest& request : reader_.requests)
      if (request.path == path) asked.push_back(request.distrusted);
    return asked;
  }

  cas::Compressor compressor_{3};
  std::uint64_t seed_ = 0;
  std::vector<WantedRange> ranges_;
  ScriptedReader reader_;
};

std::string flipped(std::string bytes, std::size_t at) {
  bytes[at] = static_cast<char>(bytes[at] ^ 1);
  return bytes;
}

TEST_F(FrameFetching, HandsOutFramesInTheOrderInWhichTheyAreWanted) {
  for (std::size_t i = 0; i < 30; ++i) add_range(1 + i % 4);
  EXPECT_EQ(fetch().value(), wanted_ids());
  EXPECT_EQ(reader_.requests.size(), 30u);
}

TEST_F(FrameFetching, KeepsTheOrderWhateverOrderAnswersComeIn) {
  for (std::size_t i = 0; i < 20; ++i) add_range(2);
  reader_.later = true;
  std::atomic<bool> ended = false;
  std::jthread answering{[&] {
    FrameFetcher fetcher{reader_, {.parallel = 20}};
    std::vector<cas::ChunkId> ids;
    EXPECT_TRUE(fetcher.fetch(ranges_, [&](const FetchedFrame& fetched) -> Result<void> {
      ids.push_back(fetched.frame->entries[0].id);
      return {};
    }));
    EXPECT_EQ(ids, wanted_ids());
    ended = true;
  }};
  // All are asked for at once; the last one is answered first.
  while (reader_.answers_waiting() != 20) std::this_thread::yield();
  for (auto answer = reader_.waiting.rbegin(); answer != reader_.waiting.rend(); ++answer) (*answer)();
  answering.join();
  EXPECT_TRUE(ended);
}

TEST_F(FrameFetching, AsksAgainForWrongBytes) {
  add_range(3);
  add_range(1);
  reader_.change = [](const ObjectRequest& request, std::string bytes) {
    return request.distrusted == 0 && request.path == "blobs/0" ? flipped(bytes, bytes.size() / 2) : bytes;
  };
  EXPECT_EQ(fetch().value(), wanted_ids());
  EXPECT_EQ(distrusted_of("blobs/0"), (std::vector<unsigned>{0, 1}));
  EXPECT_EQ(distrusted_of("blobs/1"), (std::vector<unsigned>{0}));
}

TEST_F(FrameFetching, GivesUpWhereWrongBytesComeForEver) {
  add_range(1);
  add_range(2);
  reader_.change = [](const ObjectRequest& request, std::string bytes) {
    return request.path == "blobs/1" ? flipped(bytes, 70) : bytes;
  };
  const auto fetched = fetch();
  ASSERT_FALSE(fetched);
  EXPECT_EQ(fetched.error().code, Errc::corrupt);
  EXPECT_THAT(fetched.error().context, HasSubstr("blobs/1, bytes 0 to "));
  EXPECT_EQ(distrusted_of("blobs/1"), (std::vector<unsigned>{0, 1, 2, 3, 4}));
}

TEST_F(FrameFetching, NoticesEveryChangedByte) {
  add_range(1, 30);
  const std::string& whole = reader_.objects.at("blobs/0");
  cas::Decompressor decompressor;
  for (std::size_t at = 0; at < whole.size(); ++at)
    EXPECT_FALSE(decode_wanted(as_bytes(flipped(whole, at)), ranges_[0].frames[0], decompressor)) << at;
  EXPECT_TRUE(decode_wanted(as_bytes(whole), ranges_[0].frames[0], decompressor));
}

TEST_F(FrameFetching, RefusesATrueFrameThatIsAnotherOne) {
  add_range(1);
  add_range(1);
  reader_.objects["blobs/0"] = reader_.objects["blobs/1"];
  const auto fetched = fetch();
  ASSERT_FALSE(fetched);
  EXPECT_EQ(fetched.error().code, Errc::corrupt);
  EXPECT_THAT(fetched.error().context, HasSubstr("other chunks"));
}

TEST_F(FrameFetching, RefusesChunksOfAnotherSizeThanIsWanted) {
  add_range(1);
  ++ranges_[0].frames[0].chunks[1].size;
  EXPECT_EQ(fetch().error().code, Errc::corrupt);
}

TEST_F(FrameFetching, EndsWithTheReadersError) {
  add_range(1);
  add_range(1);
  for (const Errc code : {Errc::not_found, Errc::unavailable, Errc::permission}) {
    reader_.change = [code](const ObjectRequest& request, std::string bytes) -> Result<std::string> {
      if (request.path == "blobs/1") return fail(code, "the reader's words");
      return bytes;
    };
    const auto fetched = fetch();
    ASSERT_FALSE(fetched);
    EXPECT_EQ(fetched.error().code, code);
    EXPECT_THAT(fetched.error().context, HasSubstr("blobs/1"));
    EXPECT_THAT(fetched.error().context, HasSubstr("the reader's words"));
  }
}

TEST_F(FrameFetching, TakesNoAnswerOfAnotherSize) {
  add_range(1);
  for (const int more : {-1, 1}) {
    reader_.change = [more](const ObjectRequest&, std::string bytes) {
      bytes.resize(static_cast<std::size_t>(static_cast<std::ptrdiff_t>(bytes.size()) + more));
      return bytes;
    };
    EXPECT_EQ(fetch().error().code, Errc::unavailable);
  }
}

TEST_F(FrameFetching, EndsWithTheTakersError) {
  for (int i = 0; i < 5; ++i) add_range(1);
  FrameFetcher fetcher{reader_, {}};
  int taken = 0;
  const auto done = fetcher.fetch(ranges_, [&](const FetchedFrame&) -> Result<void> {
    if (++taken == 3) return fail(Errc::out_of_space, "full");
    return {};
  });
  EXPECT_EQ(done.error().code, Errc::out_of_space);
  EXPECT_EQ(taken, 3);
}

TEST_F(FrameFetching, MayBeGoneWhenTheLastAnswersCome) {
  for (int i = 0; i < 4; ++i) add_range(1);
  reader_.change = [](const ObjectRequest& request, std::string bytes) -> Result<std::string> {
    if (request.path == "blobs/0") return fail(Errc::not_found, "gone");
    return bytes;
  };
  // The first answer comes at once and ends it; the others come when nobody waits any more.
  reader_.later_but = "blobs/0";
  EXPECT_EQ(fetch().error().code, Errc::not_found);
  EXPECT_EQ(reader_.waiting.size(), 3u);
  for (const auto& answer : reader_.waiting) answer();
}

TEST_F(FrameFetching, HasNoMoreUnderWayThanItMay) {
  for (int i = 0; i < 40; ++i) add_range(2);
  const std::uint64_t one = ranges_[0].size();
  const auto count = [&](const FrameFetcher::Options& options) {
    reader_.most_under_way = reader_.under_way = 0;
    reader_.most_at_a_time = reader_.at_a_time = 0;
    FrameFetcher fetcher{reader_, options};
    std::size_t frames = 0;
    EXPECT_TRUE(fetcher.fetch(ranges_, [&](const FetchedFrame&) -> Result<void> {
      if (++frames % 2 == 0) reader_.taken(one);
      return {};
    }));
    EXPECT_EQ(frames, 80u);
  };
  count({.most_in_flight = 1u << 30, .parallel = 5});
  EXPECT_EQ(reader_.most_at_a_time, 5u);
  count({.most_in_flight = one * 7 / 2, .parallel = 100});
  EXPECT_EQ(reader_.most_under_way, one * 3);
  count({.most_in_flight = 1, .parallel = 100});
  EXPECT_EQ(reader_.most_under_way, one) << "one that is larger than all it may have";
}

}  // namespace
}  // namespace stellarium::cdn
