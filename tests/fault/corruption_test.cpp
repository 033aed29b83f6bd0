// One flipped bit at each of many random places of a store: never a wrong byte, mode or name; what cannot be delivered
// is refused with an error, and `fsck --deep` then names image and path.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <random>
#include <vector>

#include "fault/sample_images.h"
#include "fault/trial.h"

namespace stellarium::test {
namespace {

namespace stdfs = std::filesystem;

struct Place {
  std::string where;  // "segment", "end of segment", "database", "journal"
  stdfs::path file;   // inside the store
  std::uint64_t byte = 0;
  unsigned bit = 0;
};

/// Whether fsck's output lists the file, or a directory above it that cannot be read any more.
bool names(const std::string& text, const std::string& image, std::string path) {
  for (;;) {
    if (text.find("lost:   " + image + " " + path + "\n") != std::string::npos) return true;
    const std::size_t slash = path.rfind('/');
    if (path == "/" || slash == std::string::npos) return false;
    path = slash == 0 ? "/" : path.substr(0, slash);
  }
}

class CorruptionTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (trial_root() / "stellarium-flip-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    root_ = name;
    stdfs::create_directory(root_ / "make");
    stdfs::create_directory(root_ / "store");
    Trial build{root_ / "make", [&] {
                  auto store = open_store(root_ / "store");
                  if (!store) return to_string(store.error());
                  for (const SampleImage& image : images_) {
                    if (auto done = import(**store, image); !done) return to_string(done.error());
                  }
                  const auto closed = (*store)->close();
                  return closed ? std::string{"made"} : to_string(closed.error());
                }};
    const TrialResult made = build.wait(std::chrono::seconds{120});
    ASSERT_EQ(made.text, "made") << made.ending << made.log;
    for (const auto& entry : stdfs::recursive_directory_iterator{root_ / "store"}) {
      if (!entry.is_regular_file() || entry.file_size() == 0) continue;
      const stdfs::path file = stdfs::relative(entry.path(), root_ / "store");
      if (*file.begin() == "segments") segments_.push_back({file, entry.file_size()});
      // LOG, LOCK and IDENTITY are never read back; OPTIONS is advice.
      const std::string base = file.filename().string();
      if (*file.begin() == "db" &&
          (base.ends_with(".sst") || base.ends_with(".log") || base.starts_with("MANIFEST") || base == "CURRENT")) {
        database_.push_back({file, entry.file_size()});
      }
    }
    ASSERT_FALSE(segments_.empty());
    ASSERT_FALSE(database_.empty());
  }
  void TearDown() override {
    if (!HasFailure()) stdfs::remove_all(root_);
  }

  Place choose(std::uint64_t seed, std::uint64_t trial) const {
    std::mt19937_64 random{seed * 1'000'003 + trial};
    const auto pick = [&](const auto& files) { return files[random() % files.size()]; };
    const unsigned bit = static_cast<unsigned>(random() % 8);
    switch (trial % 4) {
      case 0: {
        const auto [file, size] = pick(segments_);
        return {"segment", file, random() % size, bit};
      }
      case 1: {  // footer, and the containers before it: layer objects and recipes are written last
        const auto [file, size] = pick(segments_);
        return {"end of segment", file, size - 1 - random() % std::min<std::uint64_t>(size, 20'000), bit};
      }
      default: {
        const auto [file, size] = pick(database_);
        return {"database", file, random() % size, bit};
      }
    }
  }

  /// Flips the bit in a copy of the store and looks at everything. Returns what the parent counts and judges.
  std::string look(const Place& place, const stdfs::path& folder) const {
    const stdfs::path dir = folder / "store";
    stdfs::copy(root_ / "store", dir, stdfs::copy_options::recursive);
    {
      std::fstream file{dir / place.file, std::ios::in | std::ios::out | std::ios::binary};
      file.seekg(static_cast<std::streamoff>(place.byte));
      const char byte = static_cast<char>(file.get() ^ (1 << place.bit));
      file.seekp(static_cast<std::streamoff>(place.byte));
      file.put(byte);
    }
    auto store = open_store(dir);
    if (!store) return "refused: " + to_string(store.error());
    std::vector<std::pair<std::string, std::string>> lost;
    std::size_t errors = 0;
    for (const SampleImage& image : images_) {
      const Comparison result = compare(**store, image);
      if (!result.wrong.empty()) return "WRONG: " + image.name + ": " + result.wrong.front();
      for (const std::string& path : result.lost) lost.emplace_back(image.name, path);
      errors += result.errors.size();
    }
    const auto [code, text] = fsck(**store);
    if (code != 0 && code != 4) return "WRONG: fsck ended with " + std::to_string(code) + ": " + text;
    if (errors != 0 && code == 0) return "WRONG: fsck found nothing where reads failed";
    for (const auto& [image, path] : lost) {
      if (!names(text, image, path)) return "WRONG: fsck does not name " + image + " " + path + ":\n" + text;
    }
    if (!lost.empty()) return "files lost, and named by fsck";
    return code == 0 ? "nothing was touched" : "all files whole, and fsck found damage";
  }

  const std::vector<SampleImage> images_{SampleImage::make("one:latest", 1), SampleImage::make("two:v2", 2)};
  stdfs::path root_;
  std::vector<std::pair<stdfs::path, std::uint64_t>> segments_, database_;
};

TEST_F(CorruptionTest, AFlippedBitIsNeverServed) {
  const std::uint64_t seed = number_from("STELLARIUM_SEED", 1);
  const std::uint64_t flips = number_from("STELLARIUM_FLIPS", 1000);
  std::cout << "seed " << seed << ", " << flips << " flips (STELLARIUM_SEED, STELLARIUM_FLIPS)\n";
  constexpr std::size_t kAtOnce = 2;
  std::map<std::pair<std::string, std::string>, unsigned> outcomes;
  for (std::uint64_t first = 0; first < flips; first += kAtOnce) {
    std::vector<std::pair<Place, Trial>> running;
    for (std::uint64_t trial = first; trial < std::min(first + kAtOnce, flips); ++trial) {
      const Place place = choose(seed, trial);
      const stdfs::path folder = root_ / ("trial" + std::to_string(trial - first));
      stdfs::remove_all(folder);
      stdfs::create_directory(folder);
      running.emplace_back(place, Trial{folder, [this, place, folder] { return look(place, folder); }});
    }
    for (auto& [place, trial] : running) {
      const TrialResult result = trial.wait(std::chrono::seconds{60});
      const std::string summary = result.text.substr(0, result.text.find(':'));
      ++outcomes[{place.where, result.ending.empty() ? summary : result.ending}];
      if (result.text.starts_with("WRONG") || result.text.starts_with("exception") || !result.ending.empty()) {
        ADD_FAILURE() << "trial " << first << "+: bit " << place.bit << " of byte " << place.byte << " of "
                      << place.file << ": " << result.text << " " << result.ending << "\n"
                      << result.log.substr(0, 2000);
      }
    }
  }
  for (const auto& [key, count] : outcomes) std::cout << key.first << ": " << key.second << ": " << count << '\n';
}

}  // namespace
}  // namespace stellarium::test
