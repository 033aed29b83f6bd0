#include "cdn/folder_objects.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <future>
#include <map>

#include "support/file_text.h"
#include "support/temp_dir.h"

namespace stellarium::cdn {
namespace {

using testing::HasSubstr;
using Existing = ObjectTarget::Existing;

class Folder : public testing::Test {
 protected:
  Folder() { objects_ = FolderObjects::open(dir_.path()).value(); }

  Result<std::string> fetched(ObjectRequest request) {
    std::promise<Result<std::string>> promise;
    objects_->fetch(std::move(request), [&](Result<std::string> bytes) { promise.set_value(std::move(bytes)); });
    return promise.get_future().get();
  }
  Errc error_of(ObjectRequest request) {
    const auto bytes = fetched(std::move(request));
    EXPECT_FALSE(bytes);
    return bytes ? Errc::io : bytes.error().code;
  }
  std::map<std::string, std::uint64_t> listed(const std::string& prefix) {
    std::map<std::string, std::uint64_t> found;
    EXPECT_TRUE(objects_->list(prefix, [&](const ObjectTarget::Listed& each) -> Result<void> {
      found[each.path] = each.size;
      EXPECT_GT(each.written, 1'600'000'000);
      return {};
    }));
    return found;
  }
  void write(const std::string& path, std::string_view bytes) {
    EXPECT_TRUE(objects_->write(path, as_bytes(bytes), Existing::keep)) << path;
  }

  test::TempDir dir_;
  std::unique_ptr<FolderObjects> objects_;
};

TEST_F(Folder, KeepsObjectsAsFiles) {
  write("blobs/a", "0123456789");
  EXPECT_EQ(test::file_text(dir_ / "blobs/a"), "0123456789");
  EXPECT_EQ(objects_->size_of("blobs/a").value(), 10u);
  EXPECT_EQ(objects_->read("blobs/a", 10).value(), "0123456789");
  EXPECT_EQ(fetched({.path = "blobs/a"}).value(), "0123456789");
}

TEST_F(Folder, ReplacesNames) {
  for (const char* text : {"first", "second one", "3"}) {
    EXPECT_TRUE(objects_->write("names/a/1", as_bytes(text), Existing::replace));
    EXPECT_EQ(test::file_text(dir_ / "names/a/1"), text);
  }
}

TEST_F(Folder, KnowsWhatIsNotThere) {
  write("blobs/a", "a");
  for (const char* path : {"blobs/b", "none/at/all", "blobs/a/b"}) {
    EXPECT_EQ(objects_->size_of(path).value(), std::nullopt) << path;
    EXPECT_TRUE(objects_->remove(path)) << path;
  }
  EXPECT_EQ(objects_->read("blobs/b", 10).value(), std::nullopt);
  EXPECT_EQ(error_of({.path = "blobs/b"}), Errc::not_found);
  EXPECT_EQ(error_of({.path = "blobs"}), Errc::not_found) << "a folder is no object";
}

TEST_F(Folder, HandsOutRanges) {
  write("a", "0123456789");
  EXPECT_EQ(fetched({.path = "a", .offset = 3, .size = 4}).value(), "3456");
  EXPECT_EQ(fetched({.path = "a", .offset = 3}).value(), "3456789");
  EXPECT_EQ(fetched({.path = "a", .offset = 10}).value(), "");
  EXPECT_EQ(fetched({.path = "a", .offset = 99}).value(), "");
  EXPECT_EQ(fetched({.path = "a", .offset = 3, .size = 0}).value(), "");
}

TEST_F(Folder, HandsOutAllThatWasAskedForOrNothing) {
  write("a", "0123456789");
  EXPECT_EQ(error_of({.path = "a", .offset = 0, .size = 11}), Errc::unavailable);
  EXPECT_EQ(error_of({.path = "a", .offset = 8, .size = 3}), Errc::unavailable);
  EXPECT_EQ(error_of({.path = "a", .offset = ~std::uint64_t{0}, .size = 1}), Errc::unavailable);
  EXPECT_EQ(error_of({.path = "a", .offset = 0, .size = std::uint64_t{1} << 62}), Errc::unavailable);
}

TEST_F(Folder, RefusesWhatIsLargerThanItsReaderWants) {
  write("a", "0123456789");
  EXPECT_EQ(error_of({.path = "a", .limit = 9}), Errc::invalid_argument);
  EXPECT_EQ(objects_->read("a", 9).error().code, Errc::invalid_argument);
}

TEST_F(Folder, RefusesPathsThatLeaveIt) {
  for (const char* path : {"", "../a", "/etc/passwd", "a/../../b", ".a", "a//b"}) {
    EXPECT_EQ(error_of({.path = path}), Errc::invalid_argument) << path;
    EXPECT_EQ(objects_->size_of(path).error().code, Errc::invalid_argument) << path;
    EXPECT_EQ(objects_->write(path, {}, Existing::keep).error().code, Errc::invalid_argument) << path;
    EXPECT_EQ(objects_->remove(path).error().code, Errc::invalid_argument) << path;
  }
}

TEST_F(Folder, DoesNotWaitForAFifo) {
  ::mkfifo((dir_ / "fifo").c_str(), 0600);
  EXPECT_EQ(error_of({.path = "fifo"}), Errc::not_found);
}

TEST_F(Folder, ListsObjectsAndNothingElse) {
  write("blobs/a", "12");
  write("blobs/b", "3");
  write("names/x/1", "n");
  std::ofstream{dir_ / "blobs/.123.part"} << "half";
  std::ofstream{dir_ / "blobs/with space"} << "other";
  EXPECT_EQ(listed("blobs/"), (std::map<std::string, std::uint64_t>{{"blobs/a", 2}, {"blobs/b", 1}}));
  EXPECT_EQ(listed("").size(), 3u);
  EXPECT_TRUE(listed("nothing").empty());
}

TEST_F(Folder, EndsAListingWithTheListenersError) {
  write("a", "1");
  write("b", "2");
  int called = 0;
  const auto done = objects_->list("", [&](const ObjectTarget::Listed&) -> Result<void> {
    ++called;
    return fail(Errc::cancelled, "enough");
  });
  EXPECT_EQ(done.error().code, Errc::cancelled);
  EXPECT_EQ(called, 1);
}

TEST_F(Folder, LeavesNothingOfAWriteThatFailed) {
  write("blobs/a", "x");
  EXPECT_FALSE(objects_->write("blobs/a/b", as_bytes("y"), Existing::keep)) << "a is no folder";
  std::filesystem::create_directories(dir_ / "names/taken");
  EXPECT_FALSE(objects_->write("names/taken", as_bytes("y"), Existing::replace)) << "a folder is in its place";
  for (const auto& entry : std::filesystem::recursive_directory_iterator{dir_.path()})
    EXPECT_NE(entry.path().extension(), ".part");
}

TEST_F(Folder, IsNotStoppedByWhatADeadWriterLeft) {
  // Process ids come again: in a container the first program of each run has the same one.
  for (int number = 1; number < 5; ++number) {
    std::filesystem::create_directories(dir_ / "blobs");
    std::ofstream{dir_ / "blobs" / ("." + std::to_string(::getpid()) + "-" + std::to_string(number) + ".part")}
        << "half";
  }
  write("blobs/a", "whole");
  EXPECT_EQ(test::file_text(dir_ / "blobs/a"), "whole");
}

TEST_F(Folder, CountsWhatItHandsOut) {
  write("a", "0123456789");
  (void)fetched({.path = "a", .offset = 0, .size = 4});
  (void)fetched({.path = "b"});
  EXPECT_EQ(objects_->counters().requests, 2u);
  EXPECT_EQ(objects_->counters().bytes, 4u);
}

TEST(FolderObjects, IsOfAFolder) {
  const test::TempDir dir;
  EXPECT_EQ(FolderObjects::open(dir / "none").error().code, Errc::not_found);
  std::ofstream{dir / "file"} << "x";
  EXPECT_FALSE(FolderObjects::open(dir / "file"));
}

}  // namespace
}  // namespace stellarium::cdn
