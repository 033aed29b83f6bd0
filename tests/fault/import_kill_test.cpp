// kill -9 at random moments of an import: the store opens, fsck is clean, what was acknowledged is whole, no half image
// is visible, and a new import succeeds. (Un-synced writes stay in the page cache here; losing them is what
// power_cut_test.py is about.)
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <random>
#include <vector>

#include "fault/sample_images.h"
#include "fault/trial.h"

namespace stellarium::test {
namespace {

namespace stdfs = std::filesystem;

constexpr const char* kSound = "sound";
constexpr const char* kPublished = "sound, with the image whose import had not returned";

class ImportKillTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (trial_root() / "stellarium-kill-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    root_ = name;
    stdfs::create_directory(root_ / "store");
  }
  void TearDown() override {
    if (!HasFailure()) stdfs::remove_all(root_);
  }

  /// Imports `image`, and says in a file of its own when the import has returned.
  std::string import_one(const SampleImage& image) const {
    auto store = open_store(root_ / "store");
    if (!store) return to_string(store.error());
    std::ofstream{root_ / "opened"} << "yes";
    if (auto done = import(**store, image); !done) return to_string(done.error());
    std::ofstream{root_ / "acknowledged"} << "yes";
    return "imported";
  }

  /// What is wrong with the store; kSound if nothing. `maybe` may be there, whole (then: kPublished), or not at all.
  std::string check(const std::vector<SampleImage>& acknowledged, const SampleImage& maybe) const {
    auto store = open_store(root_ / "store");
    if (!store) return "does not open: " + to_string(store.error());
    std::vector<SampleImage> expected = acknowledged;
    const auto images = (*store)->catalog().list();
    if (!images) return "does not list: " + to_string(images.error());
    const bool published =
        std::ranges::any_of(*images, [&](const fs::Image& image) { return image.name.text() == maybe.name; });
    const bool known =
        std::ranges::any_of(acknowledged, [&](const SampleImage& image) { return image.name == maybe.name; });
    if (published && !known) expected.push_back(maybe);
    if (images->size() != expected.size())
      return std::to_string(images->size()) + " images instead of " + std::to_string(expected.size());
    for (const SampleImage& image : expected) {
      const Comparison result = compare(**store, image);
      if (!result.wrong.empty()) return image.name + ": " + result.wrong.front();
      if (!result.errors.empty()) return image.name + ": " + result.errors.front();
    }
    if (const auto [code, text] = fsck(**store); code != 0) return "fsck: " + text;
    if (auto done = import(**store, SampleImage::make("after:latest", 77)); !done)
      return "new import: " + to_string(done.error());
    const Comparison fresh = compare(**store, SampleImage::make("after:latest", 77));
    if (!fresh.wrong.empty() || !fresh.errors.empty()) return "the new import is not whole";
    const auto name = fs::ImageName::parse("after:latest");
    if (auto removed = (*store)->catalog().remove(*name); !removed) return to_string(removed.error());
    const auto closed = (*store)->close();
    if (!closed) return to_string(closed.error());
    return published && !known ? kPublished : kSound;
  }

  stdfs::path root_;
};

TEST_F(ImportKillTest, AKilledImportLeavesEverythingOrNothing) {
  const std::uint64_t seed = number_from("STELLARIUM_SEED", 1);
  const std::uint64_t kills = number_from("STELLARIUM_KILLS", 200);
  std::cout << "seed " << seed << ", " << kills << " kills (STELLARIUM_SEED, STELLARIUM_KILLS)\n";
  std::mt19937_64 random{seed};
  std::vector<SampleImage> acknowledged;
  unsigned before = 0, during = 0, after = 0;
  // Kills are spread evenly up to `latest`, which follows the machine's speed: later after a kill that came before the
  // end of the import, earlier after one that came too late. Every other one is counted from the open store, so that
  // most of those meet the import however long opening takes.
  std::array<double, 2> latest_of{200'000, 100'000};  // microseconds: from the start, from the open store
  for (std::uint64_t kill = 0; kill < kills; ++kill) {
    const SampleImage image =
        SampleImage::make("kill" + std::to_string(kill % 3) + ":" + std::to_string(kill), 100 + kill);
    for (const char* mark : {"opened", "acknowledged"}) stdfs::remove(root_ / mark);
    stdfs::create_directories(root_ / "import");
    stdfs::create_directories(root_ / "check");
    Trial importing{root_ / "import", [&] { return import_one(image); }};
    const bool from_open = kill % 2 == 1;
    double& latest = latest_of[from_open ? 1 : 0];
    if (from_open) importing.wait_for(root_ / "opened");
    importing.kill_after(std::chrono::microseconds{random() % static_cast<std::uint64_t>(latest)});
    const TrialResult ended = importing.wait(std::chrono::seconds{120});
    const bool imported = stdfs::exists(root_ / "acknowledged");
    ASSERT_TRUE(imported || ended.ending == "signal 9")
        << "kill " << kill << ": " << ended.text << ended.ending << ended.log;
    ++(imported ? after : stdfs::exists(root_ / "opened") ? during : before);
    if (imported) acknowledged.push_back(image);
    latest = std::max(1'000.0, latest * (imported ? 0.9 : 1.04));

    Trial checking{root_ / "check", [&] { return check(acknowledged, image); }};
    const TrialResult checked = checking.wait(std::chrono::seconds{120});
    if (checked.text == kPublished) acknowledged.push_back(image);
    ASSERT_TRUE(checked.ending.empty() && (checked.text == kPublished || checked.text == kSound))
        << "kill " << kill << ": " << checked.text << " " << checked.ending << "\n"
        << checked.log;

    if (acknowledged.size() >= 3) {  // begin anew now and then, so that every round costs the same
      acknowledged.clear();
      stdfs::remove_all(root_ / "store");
      stdfs::create_directory(root_ / "store");
    }
  }
  std::cout << before << " killed while the store opened, " << during << " during the import, " << after
            << " after it\n";
  EXPECT_GT(during, kills / 4);
}

}  // namespace
}  // namespace stellarium::test
