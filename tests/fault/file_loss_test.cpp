// The power goes at every changing call of an import, and what was not synced is lost of some files and kept of others:
// of segments and names journal while the database keeps all it was told, and the reverse. (power_cut_test.py cuts
// below the file system, where both lose at once.)
#include <gtest/gtest.h>

#include <filesystem>
#include <iostream>

#include "fault/sample_images.h"
#include "fault/trial.h"
#include "support/fault_io.h"
#include "support/power_cut_io.h"
#include "support/temp_dir.h"

namespace stellarium::test {
namespace {

namespace stdfs = std::filesystem;

class FileLossTest : public ::testing::Test {
 protected:
  /// What is wrong with the store; empty if nothing is. Both images may be there, or only the acknowledged one.
  std::string examine(const stdfs::path& dir, bool both_acknowledged) const {
    auto store = open_store(dir);
    if (!store) return "does not open: " + to_string(store.error());
    const auto images = (*store)->catalog().list();
    if (!images) return "does not list: " + to_string(images.error());
    if (images->empty() || images->size() > 2 || (both_acknowledged && images->size() != 2))
      return std::to_string(images->size()) + " images";
    for (const SampleImage* image : {&first_, &second_}) {
      if (image == &second_ && images->size() == 1) break;
      if (auto wrong = differences(**store, *image); !wrong.empty()) return wrong;
    }
    if (const auto [code, text] = fsck(**store); code != 0) return "fsck: " + text;
    if (auto done = import(**store, second_); !done) return "new import: " + to_string(done.error());
    return differences(**store, second_);
  }
  static std::string differences(server::Store& store, const SampleImage& image) {
    const Comparison result = compare(store, image);
    if (!result.wrong.empty()) return image.name + " is wrong: " + result.wrong.front();
    return result.errors.empty() ? "" : image.name + ": " + result.errors.front();
  }

  const SampleImage first_ = SampleImage::make("first:1", 1), second_ = SampleImage::make("second:1", 2);
};

TEST_F(FileLossTest, SegmentsAndJournalLoseWhatTheDatabaseKeeps) {
  bool reached = true;
  std::uint64_t call = 0;
  for (; reached; ++call) {
    SCOPED_TRACE("call " + std::to_string(call));
    const TempDir dir{trial_root()};
    PowerCutIo power;
    FaultIo io{power};
    bool imported = false;
    {
      auto store = open_store(dir.path(), io);
      ASSERT_TRUE(store) << to_string(store.error());
      ASSERT_TRUE(import(**store, first_));
      io.fail_at(call, EIO, /*forever=*/true);
      imported = import(**store, second_).has_value();
      reached = io.reached();
    }
    ASSERT_GE(power.cut(), 0);
    ASSERT_EQ(examine(dir.path(), imported), "");
  }
  std::cout << call << " cuts\n";
}

TEST_F(FileLossTest, TheDatabaseLosesWhatSegmentsAndJournalKeep) {
  bool reached = true;
  std::uint64_t call = 0;
  for (; reached; ++call) {
    SCOPED_TRACE("call " + std::to_string(call));
    const TempDir dir{trial_root()};
    FaultIo io;
    {
      auto store = open_store(dir.path(), io);
      ASSERT_TRUE(store) << to_string(store.error());
      ASSERT_TRUE(import(**store, first_));
      // The state that the first import acknowledged: as if nothing after it had reached the log.
      ASSERT_TRUE((*store)->database().checkpoint(dir.path() / "acknowledged"));
      io.fail_at(call, EIO, /*forever=*/true);
      (void)import(**store, second_);
      reached = io.reached();
    }
    stdfs::remove_all(dir.path() / "db");
    stdfs::rename(dir.path() / "acknowledged", dir.path() / "db");
    ASSERT_EQ(examine(dir.path(), false), "");
  }
  std::cout << call << " cuts\n";
}

}  // namespace
}  // namespace stellarium::test
