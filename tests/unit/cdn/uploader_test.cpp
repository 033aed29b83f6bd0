#include "cdn/uploader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <thread>

namespace stellarium::cdn {
namespace {

using testing::HasSubstr;

/// Objects in memory; the n-th call can fail, and all can be made to wait.
class ScriptedTarget final : public ObjectTarget {
 public:
  Result<std::optional<std::uint64_t>> size_of(const std::string& path) override {
    MutexLock lock{mutex_};
    if (++calls_ == fail_at) return fail(Errc::unavailable, "call " + std::to_string(calls_));
    const auto found = objects.find(path);
    return found == objects.end() ? std::nullopt : std::optional<std::uint64_t>{found->second.size()};
  }
  Result<void> write(const std::string& path, ByteSpan bytes, Existing existing) override {
    MutexLock lock{mutex_};
    if (++calls_ == fail_at) return fail(Errc::out_of_space, "call " + std::to_string(calls_));
    under_way_ += bytes.size();
    most_under_way = std::max(most_under_way, under_way_);
    writing = std::max(writing, ++writing_now_);
    while (held_) lock.wait(changed_);
    --writing_now_;
    under_way_ -= bytes.size();
    replaced += existing == Existing::replace ? 1 : 0;
    objects[path] = std::string{as_text(bytes)};
    return {};
  }
  Result<std::optional<std::string>> read(const std::string&, std::uint64_t) override { return std::nullopt; }
  Result<void> list(const std::string&, const std::function<Result<void>(const Listed&)>&) override { return {}; }
  Result<void> remove(const std::string&) override { return {}; }

  void hold(bool held) {
    const MutexLock lock{mutex_};
    held_ = held;
    changed_.notify_all();
  }

  std::map<std::string, std::string> objects;
  std::size_t fail_at = 0, replaced = 0;
  std::uint64_t most_under_way = 0;
  unsigned writing = 0;  ///< at a time, at most

 private:
  Mutex mutex_;
  std::condition_variable changed_;
  bool held_ = false;
  std::size_t calls_ = 0;
  std::uint64_t under_way_ = 0;
  unsigned writing_now_ = 0;
};

TEST(Uploader, BringsWhatTheTargetLacks) {
  ScriptedTarget target;
  target.objects = {{"a", "there"}, {"b", "cut"}};
  Uploader uploader{target, {}};
  EXPECT_TRUE(uploader.offer("a", "there"));
  EXPECT_TRUE(uploader.offer("b", "cut off"));
  EXPECT_TRUE(uploader.offer("c", "new"));
  EXPECT_TRUE(uploader.finish());
  EXPECT_EQ(target.objects, (std::map<std::string, std::string>{{"a", "there"}, {"b", "cut off"}, {"c", "new"}}));
  EXPECT_EQ(target.replaced, 1u) << "the one that was cut off";
  EXPECT_EQ(uploader.totals().objects, 3u);
  EXPECT_EQ(uploader.totals().written, 2u);
  EXPECT_EQ(uploader.totals().sent, 10u);
}

TEST(Uploader, EndsWithTheFirstFailureWhereverItIs) {
  for (std::size_t call = 1; call <= 20; ++call) {
    ScriptedTarget target;
    target.fail_at = call;
    Uploader uploader{target, {.parallel = 3}};
    Result<void> offered;
    for (int i = 0; i < 10 && offered; ++i) offered = uploader.offer("object" + std::to_string(i), "bytes");
    const auto finished = uploader.finish();
    ASSERT_FALSE(finished) << call;
    EXPECT_THAT(finished.error().context, HasSubstr("call " + std::to_string(call)));
    EXPECT_FALSE(uploader.offer("one more", "bytes"));
    EXPECT_FALSE(target.objects.contains("one more"));
  }
}

TEST(Uploader, KeepsNoMoreInMemoryThanItSays) {
  ScriptedTarget target;
  {
    Uploader uploader{target, {.parallel = 4, .most_waiting = 1000}};
    for (int i = 0; i < 200; ++i) ASSERT_TRUE(uploader.offer(std::to_string(i), std::string(300, 'x')));
    ASSERT_TRUE(uploader.offer("larger than all", std::string(5000, 'x')));
    ASSERT_TRUE(uploader.offer("after it", std::string(300, 'x')));
    ASSERT_TRUE(uploader.finish());
  }
  EXPECT_EQ(target.objects.size(), 202u);
  EXPECT_EQ(target.most_under_way, 5000u) << "a large one alone";
  EXPECT_LE(target.writing, 4u);
}

TEST(Uploader, WaitsWhileTheTargetIsSlow) {
  ScriptedTarget target;
  target.hold(true);
  Uploader uploader{target, {.parallel = 1, .most_waiting = 10}};
  ASSERT_TRUE(uploader.offer("a", "1234567890"));
  std::atomic<bool> taken = false;
  std::jthread offering{[&] {
    EXPECT_TRUE(uploader.offer("b", "1234567890"));
    taken = true;
  }};
  std::this_thread::yield();
  EXPECT_FALSE(taken);
  target.hold(false);
  offering.join();
  EXPECT_TRUE(uploader.finish());
  EXPECT_EQ(target.objects.size(), 2u);
}

}  // namespace
}  // namespace stellarium::cdn
