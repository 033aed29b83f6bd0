#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <set>
#include <thread>

#include "fs/fuse/handle_table.h"
#include "fuse_mount.h"
#include "support/sanitized.h"

// The server is killed and another takes over, while programs go on. This process is the keeper and the programs; the
// server is this program once more, with --serve.
namespace stellarium::fs::fuse {
namespace {

const char* self_path = nullptr;
constexpr std::uint64_t kMount = 42;

/// The server's side: DIR DEVICE TABLE READY RESUMED. Serves until it is killed.
int serve(char** arguments) {
  test::FuseImage image{arguments[0], /*private_mount=*/true};
  const FuseServer::Backing backing{*image.database, image.catalog, *image.contents, image.tier};
  auto server = FuseServer::create(backing, {.workers = 2, .passthrough = true});
  if (!server) return 1;
  const auto attached = (*server)->attach({kMount, "test", test::image_spec()}, UniqueFd{std::atoi(arguments[1])},
                                          UniqueFd{std::atoi(arguments[2])}, std::string_view{arguments[4]} == "1");
  if (!attached) {
    std::fprintf(stderr, "%s\n", to_string(attached.error()).c_str());
    return 1;
  }
  if (::write(std::atoi(arguments[3]), "R", 1) != 1) return 1;
  while (true) ::pause();
}

constexpr std::int64_t kLongestStallMs = 1'000;
// Under a sanitizer a start alone may take that long. A request meets several servers, each killed soon after it began.
constexpr std::int64_t kStartsInOneStall = 4;

/// How long a program stood still at most: in one call, not in a round of many, during which several servers may die.
class LongestCall {
 public:
  std::string slurp(const std::filesystem::path& path) {
    const UniqueFd file{timed([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC); })};
    if (!file) throw std::runtime_error("cannot open " + path.string() + ": " + std::strerror(errno));
    std::string bytes;
    std::vector<char> piece(128 << 10);
    while (true) {
      const ssize_t got = timed([&] { return ::read(file.get(), piece.data(), piece.size()); });
      if (got < 0) throw std::runtime_error("cannot read " + path.string() + ": " + std::strerror(errno));
      if (got == 0) return bytes;
      bytes.append(piece.data(), static_cast<std::size_t>(got));
    }
  }
  std::int64_t ms() const { return longest_ms_; }

 private:
  template <typename Call>
  std::invoke_result_t<Call> timed(const Call& call) {
    const auto begin = std::chrono::steady_clock::now();
    const auto result = call();
    const int error = errno;
    const auto spent = std::chrono::steady_clock::now() - begin;
    const std::int64_t ms = std::chrono::duration_cast<std::chrono::milliseconds>(spent).count();
    for (std::int64_t seen = longest_ms_; ms > seen && !longest_ms_.compare_exchange_weak(seen, ms);) {
    }
    errno = error;
    return result;
  }

  std::atomic<std::int64_t> longest_ms_ = 0;
};

class FuseTakeoverTest : public testing::Test {
 protected:
  explicit FuseTakeoverTest(int entries = 0) {
    test::FuseImage image{dir_.path()};
    image.begin();
    image.add_file(kRootIno, "program", program_, true);
    image.add_file(kRootIno, "data", data_);
    image.add_file(kRootIno, "large", large_);
    const Ino many = image.add_directory(kRootIno, "many");
    for (int i = 0; i < entries; ++i) image.add_file(many, "entry-" + std::to_string(i), "");
    const Ino small = image.add_directory(kRootIno, "small");
    for (int i = 0; i < kSmallFiles; ++i) image.add_file(small, std::to_string(i), small_file(i));
    EXPECT_TRUE(image.database->flush());  // as after an import: a start has no log of all these changes to replay
  }
  ~FuseTakeoverTest() override { stop(); }

  void start(bool resumed) {
    const auto begin = std::chrono::steady_clock::now();
    int ready[2];
    ASSERT_EQ(::pipe(ready), 0);
    child_ = ::fork();
    ASSERT_GE(child_, 0);
    if (child_ == 0) {
      // dup() drops O_CLOEXEC: these three reach the new program.
      const std::string device = std::to_string(::dup(mount_.device.get())),
                        table = std::to_string(::dup(mount_.table.get()));
      const std::string pipe = std::to_string(ready[1]);
      ::execl(self_path, self_path, "--serve", dir_.path().c_str(), device.c_str(), table.c_str(), pipe.c_str(),
              resumed ? "1" : "0", static_cast<char*>(nullptr));
      ::_exit(127);
    }
    ::close(ready[1]);
    char byte = 0;
    ASSERT_EQ(::read(ready[0], &byte, 1), 1) << "the server did not start";
    ::close(ready[0]);
    const auto took = std::chrono::steady_clock::now() - begin;
    longest_start_ms_ =
        std::max(longest_start_ms_, std::chrono::duration_cast<std::chrono::milliseconds>(took).count());
  }
  void stop() {
    if (child_ <= 0) return;
    ::kill(child_, SIGKILL);
    ::waitpid(child_, nullptr, 0);
    child_ = 0;
  }
  /// RELEASE is sent behind the programs' backs: waits until no more than `expected` records are left.
  std::size_t handles_left(std::size_t expected) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds{10};
    while (true) {
      const auto table = HandleTable::open(test::duplicate(mount_.table), kMount);
      const std::size_t left = table ? table->handles().size() : ~std::size_t{0};
      if (left <= expected || std::chrono::steady_clock::now() > deadline) return left;
      ::sched_yield();
    }
  }
  static std::string small_file(int i) {
    return "small file " + std::to_string(i) + std::string(static_cast<std::size_t>(i), 'x');
  }

  static constexpr int kSmallFiles = 300;
  const std::string program_ = test::random_text(1, 3'000'000);
  const std::string data_ = test::random_text(2, 2'000'000);
  const std::string large_ = test::random_text(3, 9'000'000);
  test::TempDir dir_;
  test::MountPoint mount_{dir_ / "mnt"};
  pid_t child_ = 0;
  std::int64_t longest_start_ms_ = 0;
};

class FuseTakeoverLongListingTest : public FuseTakeoverTest {
 protected:
  static constexpr int kEntries = 20'000;
  FuseTakeoverLongListingTest() : FuseTakeoverTest{kEntries} {}
};

TEST_F(FuseTakeoverLongListingTest, ProgramsDoNotNoticeThatTheServerIsKilledAgainAndAgain) {
  start(false);
  std::atomic<bool> stop_reading = false;
  std::atomic<int> wrong = 0, rounds = 0;
  LongestCall longest;
  const auto again_and_again = [&](auto&& body) {
    while (!stop_reading) {
      try {
        if (!body()) ++wrong;
      } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        ++wrong;
      }
      ++rounds;
      // From the page cache four readers would keep both processors of a small machine from the server that starts.
      std::this_thread::sleep_for(std::chrono::milliseconds{5});
    }
  };
  // A mapping and a listing that outlive all servers.
  const UniqueFd held{::open((mount_ / "program").c_str(), O_RDONLY | O_CLOEXEC)};
  void* mapped = ::mmap(nullptr, program_.size(), PROT_READ, MAP_PRIVATE, held.get(), 0);
  ASSERT_NE(mapped, MAP_FAILED);
  DIR* listing = ::opendir((mount_ / "many").c_str());
  ASSERT_NE(listing, nullptr);
  std::set<std::string> listed;

  std::vector<std::jthread> readers;
  readers.emplace_back([&] { again_and_again([&] { return longest.slurp(mount_ / "program") == program_; }); });
  readers.emplace_back([&] { again_and_again([&] { return longest.slurp(mount_ / "data") == data_; }); });
  readers.emplace_back([&] {
    again_and_again([&] {
      const UniqueFd file{::open((mount_ / "large").c_str(), O_RDONLY | O_CLOEXEC)};
      ::posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED);  // so that READ requests come at all
      return longest.slurp(mount_ / "large") == large_;
    });
  });
  readers.emplace_back([&] {
    again_and_again([&, i = 0]() mutable {
      i = (i + 7) % kSmallFiles;
      return longest.slurp(mount_ / ("small/" + std::to_string(i))) == small_file(i);
    });
  });
  for (int kill = 0; kill < 20; ++kill) {
    std::this_thread::sleep_for(std::chrono::milliseconds{20 + 13 * (kill % 5)});
    for (int i = 0; i < 900; ++i) {
      if (const dirent* entry = ::readdir(listing)) listed.insert(entry->d_name);
    }
    stop();
    start(true);
    EXPECT_EQ(std::memcmp(mapped, program_.data(), program_.size()), 0);
  }
  stop_reading = true;
  readers.clear();
  while (const dirent* entry = ::readdir(listing)) listed.insert(entry->d_name);
  ::closedir(listing);
  EXPECT_EQ(listed.size(), kEntries + 2u);
  EXPECT_EQ(handles_left(1), 1u);  // the mapped file; nothing that was open when a server died is left behind
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(rounds, 40);
  const std::int64_t allowed =
      test::kSanitized ? std::max(kLongestStallMs, kStartsInOneStall * longest_start_ms_) : kLongestStallMs;
  EXPECT_LT(longest.ms(), allowed);
  RecordProperty("rounds", rounds);
  RecordProperty("longest_ms", static_cast<int>(longest.ms()));
  std::printf("%d rounds, the longest call took %d ms\n", rounds.load(), static_cast<int>(longest.ms()));
  ::munmap(mapped, program_.size());
}

TEST_F(FuseTakeoverTest, NoHandleLeaksAcrossAKill) {
  start(false);
  std::vector<UniqueFd> files;
  for (int i = 0; i < 100; ++i)
    files.emplace_back(::open((mount_ / (i % 2 == 0 ? "program" : "large")).c_str(), O_RDONLY | O_CLOEXEC));
  stop();
  start(true);
  for (int i = 0; i < 100; ++i)
    files.emplace_back(::open((mount_ / (i % 2 == 0 ? "program" : "large")).c_str(), O_RDONLY | O_CLOEXEC));
  for (const UniqueFd& file : files) ASSERT_TRUE(file);
  files.clear();
  EXPECT_EQ(handles_left(0), 0u);
}

TEST_F(FuseTakeoverTest, AFileThatIsOpenKeepsItsModeAndItsBackingId) {
  start(false);
  const UniqueFd before{::open((mount_ / "program").c_str(), O_RDONLY | O_CLOEXEC)};
  ASSERT_TRUE(before);
  stop();
  start(true);
  // Another id, or a cached open, would be EIO in the kernel.
  const UniqueFd after{::open((mount_ / "program").c_str(), O_RDONLY | O_CLOEXEC)};
  ASSERT_TRUE(after);
  const auto table = HandleTable::open(test::duplicate(mount_.table), kMount);
  ASSERT_TRUE(table);
  const auto handles = table->handles();
  ASSERT_EQ(handles.size(), 2u);
  EXPECT_EQ(handles[0].mode, OpenMode::passthrough);
  EXPECT_EQ(handles[0].backing_id, handles[1].backing_id);
  EXPECT_EQ(table->backings().size(), 1u);
}

TEST_F(FuseTakeoverTest, RequestsThatWaitWhileThereIsNoServerAreAnswered) {
  start(false);
  stop();
  std::atomic<int> right = 0;
  std::vector<std::jthread> readers;
  for (int i = 0; i < 8; ++i) {
    readers.emplace_back(
        [&, i] { right += test::slurp(mount_ / ("small/" + std::to_string(i))) == small_file(i) ? 1 : 0; });
  }
  start(true);
  readers.clear();
  EXPECT_EQ(right, 8);
}

}  // namespace
}  // namespace stellarium::fs::fuse

int main(int argc, char** argv) {
  if (argc == 7 && std::string_view{argv[1]} == "--serve") return stellarium::fs::fuse::serve(argv + 2);
  stellarium::fs::fuse::self_path = argv[0];
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
