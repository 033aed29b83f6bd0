#include "fs/fuse/dax_mappings.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <deque>
#include <filesystem>
#include <map>
#include <string>

#include "support/fake_tier.h"
#include "support/fuse_messages.h"
#include "support/fuse_view.h"
#include "support/temp_dir.h"

namespace stellarium::fs::fuse {
namespace {

constexpr std::uint64_t kPage = 4096, kRange = 2u << 20, kWindow = 4 * kRange;

/// Keeps a monitor's rules: nothing over something, and only what was mapped is unmapped.
class StrictWindow final : public DaxWindow {
 public:
  std::uint64_t size() const override { return kWindow; }
  std::uint64_t life() const override { return life_; }
  Result<void> map(std::uint64_t place, int fd, std::uint64_t offset, std::uint64_t length) override {
    if (refuses) return fail(Errc::io, "refused");
    struct stat status {};
    EXPECT_EQ(::fstat(fd, &status), 0);
    const auto size = static_cast<std::uint64_t>(status.st_size);
    if (whole_pages_only && offset + length > size) {
      ++partial_pages;
      return fail(Errc::io, "refused");
    }
    EXPECT_LT(offset + length, size + kPage);
    EXPECT_TRUE(place % kPage == 0 && offset % kPage == 0 && length % kPage == 0 && length > 0);
    EXPECT_LE(place + length, kWindow);
    for (const auto& [other, extent] : mapped) EXPECT_FALSE(place < other + extent && other < place + length) << place;
    mapped[place] = length;
    std::string& there = shown[place];
    there.assign(length, '?');
    there.resize(static_cast<std::size_t>(::pread(fd, there.data(), length, static_cast<off_t>(offset))));
    return {};
  }
  Result<void> unmap(std::uint64_t place, std::uint64_t length) override {
    if (refuses) return fail(Errc::io, "refused");
    if (forgives && !mapped.contains(place)) return fail(Errc::io, "nothing is there");
    EXPECT_TRUE(mapped.contains(place) && mapped[place] == length) << place;
    mapped.erase(place);
    shown.erase(place);
    return {};
  }
  void post(std::function<void()> work) override { posted.push_back(std::move(work)); }
  void run_posted() {
    for (auto work = std::exchange(posted, {}); auto& each : work) each();
  }
  void drop_everything() {
    mapped.clear();
    ++life_;
  }
  std::map<std::uint64_t, std::uint64_t> mapped;
  std::map<std::uint64_t, std::string> shown;  ///< the bytes, by place, to the end of the file
  bool whole_pages_only = false;
  int partial_pages = 0;
  std::deque<std::function<void()>> posted;
  bool refuses = false, forgives = false;

 private:
  std::uint64_t life_ = 1;
};

class DaxMappingsTest : public testing::Test {
 protected:
  tier::ContentRef hot(std::size_t size) {
    const auto content = tier_.add(std::string(size, static_cast<char>('a' + size % 26)));
    tier_.make_hot(content, [](const Result<tier::HotFilePtr>&) {});
    return content;
  }
  int set_up(const tier::ContentRef& content, std::uint64_t offset, std::uint64_t place, std::uint64_t length = kRange,
             std::uint64_t flags = 2) {
    send(content, offset, place, length, flags);
    return sink_->only().error;
  }
  void send(const tier::ContentRef& content, std::uint64_t offset, std::uint64_t place, std::uint64_t length = kRange,
            std::uint64_t flags = 2) {
    const std::string message = test::make_request(abi::Opcode::setupmapping, 7, unique_ += 2);
    mappings_->set_up(*Request::parse(as_bytes(message), 0, Peer::guest), content,
                      {~std::uint64_t{0}, offset, length, flags, place}, Reply{sink_, unique_, {}});
  }
  int remove(const std::vector<abi::RemoveMappingOne>& which) {
    mappings_->remove(which, Reply{sink_, unique_ += 2, {}});
    return sink_->only().error;
  }

  test::TempDir dir_;
  test::FakeTier tier_{dir_.path()};
  std::shared_ptr<StrictWindow> window_ = std::make_shared<StrictWindow>();
  std::shared_ptr<test::RecordingSink> sink_ = std::make_shared<test::RecordingSink>();
  std::shared_ptr<OpenFiles> log() {
    return std::make_shared<OpenFiles>(*HandleTable::open(UniqueFd{::dup(table_.get())}, 1), port_, tier_, false);
  }
  /// The server is killed, and the next one goes on.
  void restart() {
    mappings_ = std::make_unique<DaxMappings>(tier_, window_, log());
    mappings_->started(true);
  }
  test::NoBackingPort port_;
  const UniqueFd table_ = std::move(*HandleTable::make());
  std::unique_ptr<DaxMappings> mappings_ = std::make_unique<DaxMappings>(tier_, window_, log());
  std::uint64_t unique_ = 2;
};

using Mapped = std::map<std::uint64_t, std::uint64_t>;

TEST_F(DaxMappingsTest, AFileIsMappedToItsLastPage) {
  const auto file = hot(kRange + 5000);
  EXPECT_EQ(set_up(file, 0, kRange), 0);
  EXPECT_EQ(set_up(file, kRange, 0), 0);
  EXPECT_EQ(window_->mapped, (Mapped{{0, 2 * kPage}, {kRange, kRange}}));
  EXPECT_EQ(remove({{0, kRange}, {kRange, kRange}}), 0);
  EXPECT_EQ(window_->mapped, Mapped{});
  EXPECT_EQ(remove({{0, kRange}}), 0);
}

TEST_F(DaxMappingsTest, WhatIsMappedOverSomethingReplacesIt) {
  const auto file = hot(3 * kRange);
  EXPECT_EQ(set_up(file, 0, 0), 0);
  EXPECT_EQ(set_up(file, 0, kRange), 0);
  EXPECT_EQ(set_up(file, kRange, 0), 0);
  EXPECT_EQ(set_up(file, 0, kRange / 2), 0);  // as no guest does: over the ends of both
  EXPECT_EQ(window_->mapped, (Mapped{{kRange / 2, kRange}}));
  EXPECT_EQ(mappings_->count(), 1u);
}

TEST_F(DaxMappingsTest, WhatCannotBeIsRefused) {
  const auto file = hot(3 * kPage);
  EXPECT_EQ(set_up(file, 0, 0, kRange, abi::kMapToWrite), EROFS);
  for (const auto& [offset, place, length] : {std::array<std::uint64_t, 3>{0, 0, 0},
                                              {0, 0, 100},
                                              {0, 100, kPage},
                                              {100, 0, kPage},
                                              {3 * kPage, 0, kPage},
                                              {~0ull - kPage + 1, 0, kPage},
                                              {0, kWindow, kPage},
                                              {0, kWindow - kPage, 2 * kPage},
                                              {0, ~0ull - kPage + 1, 2 * kPage},
                                              {0, 0, kWindow + kPage},
                                              {0, kPage, ~0ull - kPage + 1}})
    EXPECT_EQ(set_up(file, offset, place, length), EINVAL) << offset << ' ' << place << ' ' << length;
  EXPECT_EQ(remove({{kWindow, kPage}}), EINVAL);
  EXPECT_EQ(remove({{kPage, ~0ull}}), EINVAL);
  EXPECT_EQ(window_->mapped, Mapped{});
}

TEST_F(DaxMappingsTest, AFileThatIsNotThereYetIsWaitedForWithoutAWorker) {
  const auto file = tier_.add(std::string(5 * kPage, 'x'));
  tier_.fills_wait = true;
  send(file, 0, 0);
  EXPECT_TRUE(sink_->take().empty());
  tier_.run_waiting();
  EXPECT_TRUE(sink_->take().empty());  // the tier's thread does not wait for a monitor
  window_->run_posted();
  EXPECT_EQ(sink_->only().error, 0);
  EXPECT_EQ(window_->mapped, (Mapped{{0, 5 * kPage}}));
}

TEST_F(DaxMappingsTest, WhatHasNoHotFileIsMappedAsACopy) {
  tier_.fills_fail = true;
  const std::string bytes = std::string(kRange, 'a') + std::string(kPage, 'b') + "end";
  const auto file = tier_.add(bytes);
  send(file, 0, 0);
  send(file, kRange, kRange);
  EXPECT_TRUE(sink_->take().empty());
  window_->run_posted();
  EXPECT_EQ(sink_->take().size(), 2u);
  EXPECT_EQ(window_->mapped, (Mapped{{0, kRange}, {kRange, 2 * kPage}}));
  EXPECT_TRUE(window_->shown[0] == bytes.substr(0, kRange));
  EXPECT_TRUE(window_->shown[kRange] == bytes.substr(kRange) + std::string(kPage - 3, '\0'));
  EXPECT_EQ(remove({{0, 2 * kRange}}), 0);
  EXPECT_EQ(window_->mapped, Mapped{});

  std::filesystem::remove(dir_.path() / "contents" / file.id.hex());
  send(file, 0, 0);
  window_->run_posted();
  EXPECT_EQ(sink_->only().error, EIO);
  EXPECT_EQ(window_->mapped, Mapped{});
}

TEST_F(DaxMappingsTest, AMonitorThatMapsWholePagesOnlyGetsTheLastOneAsACopy) {
  window_->whole_pages_only = true;
  const auto file = hot(2 * kPage + 3), small = hot(100), whole = hot(kPage);
  EXPECT_EQ(set_up(file, 0, 0), 0);
  EXPECT_EQ(set_up(small, 0, kRange), 0);
  EXPECT_EQ(set_up(whole, 0, 2 * kRange), 0);
  EXPECT_EQ(set_up(file, 0, 3 * kRange, kPage), 0);
  EXPECT_EQ(window_->partial_pages, 1);  // it is not asked again
  EXPECT_EQ(window_->mapped,
            (Mapped{{0, 2 * kPage}, {2 * kPage, kPage}, {kRange, kPage}, {2 * kRange, kPage}, {3 * kRange, kPage}}));
  EXPECT_TRUE(window_->shown[2 * kPage] == std::string(3, window_->shown[0][0]) + std::string(kPage - 3, '\0'));
  EXPECT_EQ(remove({{0, kRange}}), 0);
  EXPECT_FALSE(window_->mapped.contains(0) || window_->mapped.contains(2 * kPage));
}

TEST_F(DaxMappingsTest, AFileStaysAsLongAsItIsMapped) {
  const auto file = hot(kPage);
  const std::weak_ptr<const tier::HotFile> held = tier_.find_hot(file);
  const long others = held.use_count();
  EXPECT_EQ(set_up(file, 0, 0), 0);
  EXPECT_EQ(held.use_count(), others + 1);
  EXPECT_EQ(remove({{0, kRange}}), 0);
  EXPECT_EQ(held.use_count(), others);
}

TEST_F(DaxMappingsTest, AMonitorThatDropsOrRefusesIsBelieved) {
  const auto file = hot(3 * kRange);
  EXPECT_EQ(set_up(file, 0, 0), 0);
  window_->drop_everything();
  EXPECT_EQ(remove({{0, kRange}}), 0);
  EXPECT_EQ(set_up(file, 0, 0), 0);
  window_->refuses = true;
  EXPECT_EQ(set_up(file, 0, kRange), EIO);
  EXPECT_EQ(remove({{0, kRange}}), EIO);
  window_->refuses = false;
  EXPECT_EQ(window_->mapped, (Mapped{{0, kRange}}));
  mappings_->started(false);  // the guest mounts anew
  EXPECT_EQ(window_->mapped, Mapped{});
  EXPECT_EQ(mappings_->count(), 0u);
}

TEST_F(DaxMappingsTest, TheNextServerKnowsWhatIsMapped) {
  const auto file = hot(3 * kRange);
  EXPECT_EQ(set_up(file, 0, 0), 0);
  EXPECT_EQ(set_up(file, kRange, kRange), 0);
  EXPECT_EQ(remove({{kRange, kRange}}), 0);
  restart();
  EXPECT_EQ(mappings_->count(), 1u);
  EXPECT_EQ(set_up(file, kRange, 0), 0);  // over what the first one mapped
  EXPECT_EQ(window_->mapped, (Mapped{{0, kRange}}));
  restart();
  mappings_->started(false);  // and a guest that mounts anew
  EXPECT_EQ(window_->mapped, Mapped{});
  restart();
  EXPECT_EQ(mappings_->count(), 0u);
}

TEST_F(DaxMappingsTest, WhatWasOnlyAboutToBeMappedIsNoError) {
  ASSERT_TRUE(log()->add_mapping({kRange, kRange}));  // and killed before the monitor heard of it
  restart();
  EXPECT_EQ(mappings_->count(), 1u);
  window_->forgives = true;
  const auto file = hot(3 * kRange);
  EXPECT_EQ(set_up(file, 0, kRange), 0);
  EXPECT_EQ(window_->mapped, (Mapped{{kRange, kRange}}));
}

TEST(DaxMappings, ProgramsAndLargeFilesAreWorthARange) {
  Inode inode;
  inode.body = Body::content;
  inode.size = 100;
  EXPECT_FALSE(DaxMappings::worth(inode));
  inode.program = true;
  EXPECT_TRUE(DaxMappings::worth(inode));
  inode.size = 0;
  EXPECT_FALSE(DaxMappings::worth(inode));
  inode.program = false;
  inode.size = 1u << 20;
  EXPECT_TRUE(DaxMappings::worth(inode));
  inode.body = Body::staged;
  EXPECT_FALSE(DaxMappings::worth(inode));
}

}  // namespace
}  // namespace stellarium::fs::fuse
