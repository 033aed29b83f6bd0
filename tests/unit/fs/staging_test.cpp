#include "fs/staging.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <fstream>
#include <set>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "support/fault_io.h"
#include "support/golden.h"
#include "support/power_cut_io.h"
#include "support/random_bytes.h"
#include "support/temp_dir.h"

namespace stellarium::fs {
namespace {

using FilePtr = std::shared_ptr<Staging::File>;
using Calls = std::vector<std::string>;

std::string name_of(StagedId id) {
  char text[32];
  std::snprintf(text, sizeof text, "%02llx/%016llx", static_cast<unsigned long long>(id & 0xff),
                static_cast<unsigned long long>(id));
  return text;
}

std::size_t open_descriptors() {
  const std::filesystem::directory_iterator fds{"/proc/self/fd"};
  return static_cast<std::size_t>(std::distance(begin(fds), end(fds)));
}

class StagingTest : public ::testing::Test {
 protected:
  std::unique_ptr<Staging> open(Io& io) { return std::move(Staging::open(io, folder_ / "staged")).value(); }
  FilePtr create(Staging& staging) {
    auto file = staging.create();
    if (!file) throw std::runtime_error(to_string(file.error()));
    return file.value();
  }
  void write(const FilePtr& file, std::string_view text) { ASSERT_TRUE(io_.write_at(file->fd(), as_bytes(text), 0)); }
  std::string read(const FilePtr& file) {
    std::string text(1000, '\0');
    text.resize(io_.read_at(file->fd(), std::as_writable_bytes(std::span{text}), 0).value());
    return text;
  }
  std::filesystem::path path_of(StagedId id) { return folder_ / "staged" / name_of(id); }
  Calls calls_since(std::size_t begin) {
    Calls calls = io_.calls();
    calls.erase(calls.begin(), calls.begin() + static_cast<std::ptrdiff_t>(begin));
    return calls;
  }

  const test::TempDir folder_;
  test::FaultIo io_;
};

TEST_F(StagingTest, ANewFileIsEmptyAndPrivateAndNamedByItsId) {
  const auto staging = open(io_);
  const FilePtr file = create(*staging);
  EXPECT_NE(file->id(), 0u);
  EXPECT_EQ(file->id() >> 63, 0u);
  struct stat st {};
  ASSERT_EQ(::stat(path_of(file->id()).c_str(), &st), 0);
  EXPECT_EQ(st.st_mode, S_IFREG | 0600u);
  EXPECT_EQ(st.st_size, 0);
  ASSERT_EQ(::stat(path_of(file->id()).parent_path().c_str(), &st), 0);
  EXPECT_EQ(st.st_mode, S_IFDIR | 0700u);
  ASSERT_EQ(::stat((folder_ / "staged").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode, S_IFDIR | 0700u);
  EXPECT_EQ(::fcntl(file->fd(), F_GETFL) & O_ACCMODE, O_RDWR);
  EXPECT_NE(::fcntl(file->fd(), F_GETFD) & FD_CLOEXEC, 0);
}

TEST_F(StagingTest, FilesAreFoundAfterARestart) {
  std::vector<StagedId> ids;
  {
    const auto staging = open(io_);
    for (const char* text : {"one", "two", "three"}) {
      const FilePtr file = create(*staging);
      write(file, text);
      ids.push_back(file->id());
    }
  }
  const auto staging = open(io_);
  EXPECT_EQ(staging->status(ids[2]).value().st_size, 5);
  EXPECT_EQ(staging->stats().open, 0u);
  EXPECT_EQ(read(staging->find(ids[0]).value()), "one");
  EXPECT_EQ(read(staging->find(ids[1]).value()), "two");
  std::vector<StagedId> listed = staging->list().value();
  std::sort(listed.begin(), listed.end());
  std::sort(ids.begin(), ids.end());
  EXPECT_EQ(listed, ids);
}

TEST_F(StagingTest, NamesAreThoseOfTheGoldenFile) {
  const auto staging = open(io_);
  std::istringstream lines{test::golden("staging-v1.txt")};
  StagedId id = 0;
  std::size_t count = 0;
  for (std::string path; lines >> id >> path; ++count) {
    EXPECT_EQ(path, name_of(id));
    std::filesystem::create_directory((folder_ / "staged" / path).parent_path());
    std::ofstream{folder_ / "staged" / path} << path;
    EXPECT_EQ(read(staging->find(id).value()), path);
  }
  EXPECT_GT(count, 2u);
  EXPECT_EQ(staging->list().value().size(), count);
}

TEST_F(StagingTest, WhatIsNoIdIsNotFound) {
  const auto staging = open(io_);
  const StagedId id = create(*staging)->id();
  for (const StagedId wrong : {StagedId{0}, id ^ 1, id ^ 256, id | StagedId{1} << 63}) {
    EXPECT_EQ(staging->find(wrong).error().code, Errc::not_found);
    EXPECT_EQ(staging->status(wrong).error().code, Errc::not_found);
    EXPECT_EQ(staging->make_durable(wrong).error().code, Errc::not_found);
    EXPECT_TRUE(staging->remove(wrong));
  }
  EXPECT_TRUE(staging->find(id));
}

TEST_F(StagingTest, UsersOfARemovedFileGoOn) {
  const auto staging = open(io_);
  const FilePtr file = create(*staging);
  write(file, "kept");
  ASSERT_TRUE(staging->remove(file->id()));
  EXPECT_FALSE(std::filesystem::exists(path_of(file->id())));
  EXPECT_EQ(read(file), "kept");
  EXPECT_EQ(staging->find(file->id()).error().code, Errc::not_found);
  EXPECT_EQ(staging->status(file->id()).error().code, Errc::not_found);
  EXPECT_EQ(staging->make_durable(file->id()).error().code, Errc::not_found);
  EXPECT_TRUE(staging->remove(file->id()));
  EXPECT_EQ(staging->stats().open, 0u);
}

TEST_F(StagingTest, ARemovedFileThatNobodyUsesIsClosedAtOnce) {
  const auto staging = open(io_);
  const StagedId id = create(*staging)->id();
  const std::size_t before = open_descriptors();
  ASSERT_TRUE(staging->remove(id));
  EXPECT_EQ(open_descriptors(), before - 1);
}

TEST_F(StagingTest, AFailedRemovalLeavesTheFile) {
  const auto staging = open(io_);
  const FilePtr file = create(*staging);
  io_.fail_at(0, EIO);
  EXPECT_EQ(staging->remove(file->id()).error().code, Errc::io);
  EXPECT_EQ(staging->find(file->id()).value().get(), file.get());
}

TEST_F(StagingTest, AFileThatIsOpenIsNotOpenedAgain) {
  const auto staging = open(io_);
  FilePtr file = create(*staging);
  const StagedId id = file->id();
  const Staging::File* const first = file.get();
  EXPECT_EQ(staging->find(id).value().get(), first);
  file.reset();
  EXPECT_EQ(staging->stats().idle, 1u);
  EXPECT_EQ(staging->find(id).value().get(), first);
}

TEST_F(StagingTest, TheLongestIdleFilesAreClosedBeyondTheLimit) {
  const auto staging = open(io_);
  std::vector<FilePtr> files;
  std::vector<StagedId> ids;
  for (std::size_t i = 0; i < Staging::kMaxIdle + 50; ++i) {
    files.push_back(create(*staging));
    ids.push_back(files.back()->id());
  }
  EXPECT_EQ(staging->stats().open, files.size());
  EXPECT_EQ(staging->stats().idle, 0u);
  const std::size_t before = open_descriptors();
  const Staging::File* const last = files.back().get();
  for (FilePtr& file : files) file.reset();
  EXPECT_EQ(staging->stats().open, Staging::kMaxIdle);
  EXPECT_EQ(staging->stats().idle, Staging::kMaxIdle);
  EXPECT_EQ(open_descriptors(), before - 50);
  EXPECT_EQ(staging->find(ids.back()).value().get(), last);
  EXPECT_TRUE(staging->find(ids.front()));
  EXPECT_EQ(staging->stats().open, Staging::kMaxIdle);
}

TEST_F(StagingTest, AFileOutlivesItsStaging) {
  auto staging = open(io_);
  const FilePtr file = create(*staging);
  staging.reset();
  write(file, "still there");
  EXPECT_EQ(read(file), "still there");
}

TEST_F(StagingTest, ManyNewFilesDoNotCollide) {
  const auto staging = open(io_);
  std::set<StagedId> ids;
  for (int i = 0; i < 10'000; ++i) ids.insert(create(*staging)->id());
  EXPECT_EQ(ids.size(), 10'000u);
  EXPECT_EQ(staging->list().value().size(), 10'000u);
}

TEST_F(StagingTest, ForeignNamesAreLeftAlone) {
  const auto staging = open(io_);
  const StagedId id = create(*staging)->id();
  const std::filesystem::path staged = folder_ / "staged";
  std::filesystem::create_directories(staged / "lost+found");
  std::filesystem::create_directories(staged / "AB");
  std::filesystem::create_directories(staged / "01" / "0000000000000101");
  std::filesystem::create_directories(staged / "00");
  std::ofstream{staged / "2"};
  std::ofstream{staged / "01" / "0000000000000002"};  // in the wrong folder
  std::ofstream{staged / "01" / "000000000000201"};
  std::ofstream{staged / "01" / "0000000000000A01"};
  std::ofstream{staged / "01" / "0000000000000301.new"};
  std::ofstream{staged / "01" / "8000000000000001"};
  std::ofstream{staged / "00" / "0000000000000000"};
  std::filesystem::create_symlink("/dev/null", staged / "01" / "0000000000000401");
  EXPECT_EQ(staging->list().value(), std::vector{id});
  EXPECT_TRUE(std::filesystem::exists(staged / "01" / "000000000000201"));
  EXPECT_FALSE(staging->find(0x401));
  EXPECT_FALSE(staging->find(0x101));
}

TEST_F(StagingTest, ANameIsSyncedOnce) {
  const auto staging = open(io_);
  const FilePtr file = create(*staging);
  std::size_t begin = io_.calls().size();
  ASSERT_TRUE(staging->make_durable(file->id()));
  EXPECT_EQ(calls_since(begin), (Calls{"sync_data", "sync", "sync"}));  // bytes, its folder, the folder of folders
  begin = io_.calls().size();
  ASSERT_TRUE(staging->make_durable(file->id()));
  EXPECT_EQ(calls_since(begin), (Calls{"sync_data"}));
}

TEST_F(StagingTest, ANameOfTheLastRunIsSyncedOnceMore) {
  const StagedId id = create(*open(io_))->id();
  const auto staging = open(io_);
  const std::size_t begin = io_.calls().size();
  ASSERT_TRUE(staging->make_durable(id));
  EXPECT_EQ(calls_since(begin), (Calls{"sync_data", "sync", "sync"}));
}

TEST_F(StagingTest, NotedFilesAreSyncedOnceAndBeforeTheirFolders) {
  const auto staging = open(io_);
  std::set<std::string> folders;
  Calls expected(200, "sync_data");
  for (int i = 0; i < 200; ++i) {
    const StagedId id = create(*staging)->id();
    folders.insert(name_of(id).substr(0, 2));
    staging->note_unsynced(id);
    staging->note_unsynced(id);
  }
  expected.resize(expected.size() + folders.size() + 1, "sync");
  std::size_t begin = io_.calls().size();
  ASSERT_TRUE(staging->sync_noted());
  EXPECT_EQ(calls_since(begin), expected);
  begin = io_.calls().size();
  ASSERT_TRUE(staging->sync_noted());
  EXPECT_EQ(calls_since(begin), Calls{});
}

TEST_F(StagingTest, WhatWasMadeDurableIsNotedNoMore) {
  const auto staging = open(io_);
  const FilePtr file = create(*staging);
  staging->note_unsynced(file->id());
  ASSERT_TRUE(staging->make_durable(file->id()));
  const std::size_t begin = io_.calls().size();
  ASSERT_TRUE(staging->sync_noted());
  EXPECT_EQ(calls_since(begin), Calls{});
}

TEST_F(StagingTest, ANotedFileThatWasRemovedIsSkipped) {
  const auto staging = open(io_);
  const StagedId removed = create(*staging)->id(), noted_late = create(*staging)->id(), lost = create(*staging)->id();
  staging->note_unsynced(removed);
  staging->note_unsynced(lost);
  ASSERT_TRUE(staging->remove(removed));
  ASSERT_TRUE(staging->remove(noted_late));
  staging->note_unsynced(noted_late);
  const std::size_t begin = io_.calls().size();
  ASSERT_TRUE(staging->sync_noted());
  const Calls calls = calls_since(begin);
  EXPECT_EQ(std::count(calls.begin(), calls.end(), "sync_data"), 1);
}

TEST_F(StagingTest, AFailedSyncOfAFileIsReportedUntilTheFileIsRemoved) {
  const auto staging = open(io_);
  const StagedId id = create(*staging)->id(), other = create(*staging)->id();
  io_.fail_at(0, EIO);
  const auto failed = staging->make_durable(id);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().sys_errno, EIO);
  EXPECT_NE(failed.error().context.find(name_of(id).substr(3)), std::string::npos) << failed.error().context;
  for (std::size_t i = 0; i < Staging::kMaxIdle + 1; ++i) create(*staging);  // closes it
  EXPECT_EQ(staging->make_durable(id).error().sys_errno, EIO);
  EXPECT_TRUE(staging->make_durable(other));
  staging->note_unsynced(id);
  EXPECT_TRUE(staging->sync_noted());  // others do not suffer
  EXPECT_EQ(staging->make_durable(id).error().sys_errno, EIO);
  EXPECT_EQ(staging->failures(), 1);
  EXPECT_TRUE(staging->find(id));  // what it holds can still be read
  ASSERT_TRUE(staging->remove(id));
  EXPECT_TRUE(staging->sync_noted());
  EXPECT_EQ(staging->make_durable(id).error().code, Errc::not_found);
}

TEST_F(StagingTest, OneNotedFileThatFailsDoesNotKeepTheOthersUnsynced) {
  const auto staging = open(io_);
  for (int i = 0; i < 3; ++i) staging->note_unsynced(create(*staging)->id());
  io_.fail_at(0, ENOSPC);
  std::size_t begin = io_.calls().size();
  EXPECT_EQ(staging->failures(), 0);
  EXPECT_TRUE(staging->sync_noted());
  EXPECT_EQ(staging->failures(), 1);
  const Calls calls = calls_since(begin);
  EXPECT_EQ(std::count(calls.begin(), calls.end(), "sync_data"), 3);
  begin = io_.calls().size();
  EXPECT_TRUE(staging->sync_noted());
  EXPECT_EQ(calls_since(begin), Calls{});  // the other two were cleared, and the failed one is not believed any more
}

TEST_F(StagingTest, ANameWhoseSyncFailedIsSyncedAgain) {
  const auto staging = open(io_);
  const FilePtr file = create(*staging);
  staging->note_unsynced(file->id());
  for (const std::uint64_t call : {1u, 2u}) {  // the file's folder; then, the first being synced, the folder of folders
    io_.fail_at(call, EIO);
    EXPECT_EQ(staging->sync_noted().error().sys_errno, EIO);
  }
  const std::size_t begin = io_.calls().size();
  ASSERT_TRUE(staging->sync_noted());
  EXPECT_EQ(calls_since(begin), (Calls{"sync_data", "sync"}));
}

TEST_F(StagingTest, ThePowerCutLeavesWhatWasMadeDurable) {
  test::PowerCutIo power;
  StagedId durable = 0, noted = 0, unsynced = 0;
  {
    const auto staging = open(power);
    const FilePtr a = create(*staging), b = create(*staging), c = create(*staging);
    std::tie(durable, noted, unsynced) = std::tuple{a->id(), b->id(), c->id()};
    for (const FilePtr& file : {a, b, c}) write(file, "bytes");
    ASSERT_TRUE(staging->make_durable(durable));
    staging->note_unsynced(noted);
    ASSERT_TRUE(staging->sync_noted());
  }
  EXPECT_EQ(power.cut(), 1);
  const auto staging = open(power);
  EXPECT_EQ(read(staging->find(durable).value()), "bytes");
  EXPECT_EQ(read(staging->find(noted).value()), "bytes");
  const auto lost = staging->find(unsynced);
  EXPECT_TRUE(!lost || read(*lost).empty());
}

TEST_F(StagingTest, AFolderThatCannotBeMadeIsAnError) {
  io_.fail_at(0, ENOSPC);
  EXPECT_EQ(Staging::open(io_, folder_ / "staged").error().code, Errc::out_of_space);
  const auto staging = open(io_);
  io_.fail_at(0, ENOSPC);
  EXPECT_EQ(staging->create().error().code, Errc::out_of_space);
  EXPECT_TRUE(staging->create());
}

/// Does something in the middle of the first fdatasync.
class SlowSyncIo final : public test::FaultIo {
 public:
  std::function<void()> meanwhile;
  Result<void> sync_data(int fd) override {
    if (auto run = std::exchange(meanwhile, nullptr)) run();
    return test::FaultIo::sync_data(fd);
  }
};

TEST_F(StagingTest, ASecondSyncOfNotedFilesWaitsForTheFirst) {
  SlowSyncIo io;
  const auto staging = open(io);
  staging->note_unsynced(create(*staging)->id());
  std::atomic<bool> synced = false;
  std::thread second;
  io.meanwhile = [&] {
    second = std::thread{[&] {
      EXPECT_TRUE(staging->sync_noted());
      EXPECT_TRUE(synced);
    }};
    for (int i = 0; i < 10'000; ++i) std::this_thread::yield();
    synced = true;
  };
  EXPECT_TRUE(staging->sync_noted());
  second.join();
}

TEST_F(StagingTest, WhatIsNotedDuringASyncStaysNoted) {
  SlowSyncIo io;
  const auto staging = open(io);
  const FilePtr file = create(*staging);
  staging->note_unsynced(file->id());
  io.meanwhile = [&] { staging->note_unsynced(file->id()); };
  ASSERT_TRUE(staging->sync_noted());
  const std::size_t begin = io.calls().size();
  ASSERT_TRUE(staging->sync_noted());
  EXPECT_EQ(io.calls().size(), begin + 1);
}

TEST_F(StagingTest, AFailureOfAFileThatWasRemovedMeanwhileIsForgotten) {
  SlowSyncIo io;
  const auto staging = open(io);
  const FilePtr file = create(*staging);
  staging->note_unsynced(file->id());
  io.meanwhile = [&] {
    EXPECT_TRUE(staging->remove(file->id()));
    io.fail_at(0, EIO);
  };
  EXPECT_TRUE(staging->sync_noted());
  EXPECT_TRUE(io.reached());
}

TEST_F(StagingTest, KnowsWhoMayBeWritingAFile) {
  const auto staging = open(io_);
  FilePtr file = create(*staging);
  const StagedId id = file->id();
  EXPECT_TRUE(staging->is_being_written(id).value()) << "we have it in hand";
  ASSERT_EQ(::ftruncate(file->fd(), 4096), 0);
  void* const mapped = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file->fd(), 0);
  ASSERT_NE(mapped, MAP_FAILED);
  file.reset();
  EXPECT_TRUE(staging->is_being_written(id).value()) << "a mapping needs no descriptor";
  ASSERT_EQ(::munmap(mapped, 4096), 0);
  EXPECT_FALSE(staging->is_being_written(id).value());
  EXPECT_TRUE(staging->find(id)) << "and nobody is kept from it";
  ASSERT_TRUE(staging->remove(id));
  EXPECT_EQ(staging->is_being_written(id).error().code, Errc::not_found);
}

TEST_F(StagingTest, ThreadsShareFiles) {
  const auto staging = open(io_);
  std::vector<StagedId> shared;
  for (std::size_t i = 0; i < Staging::kMaxIdle + 20; ++i) shared.push_back(create(*staging)->id());
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (std::size_t i = 0; i < 300; ++i) {
        const StagedId id = shared[(i * 7 + t) % shared.size()];
        EXPECT_EQ(staging->find(id).value()->id(), id);
        EXPECT_TRUE(staging->status(id));
        staging->note_unsynced(id);
        const StagedId own = create(*staging)->id();
        staging->note_unsynced(own);
        if (i % 50 == 0) {
          EXPECT_TRUE(staging->sync_noted());
        }
        if (i % 60 == 0) {
          EXPECT_TRUE(staging->make_durable(own));
        }
        EXPECT_TRUE(staging->remove(own));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(staging->list().value().size(), shared.size());
  EXPECT_EQ(staging->stats().open, staging->stats().idle);
}

}  // namespace
}  // namespace stellarium::fs
