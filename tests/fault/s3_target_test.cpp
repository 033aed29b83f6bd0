// Publishing to a real S3 server, Ceph's gateway on loopback (tests/support/ceph_s3): what unit tests only say of one.
#include "cdn/s3/s3_target.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <thread>

#include "support/cannot_run.h"
#include "support/random_bytes.h"
#include "support/temp_dir.h"

namespace stellarium::cdn::s3 {
namespace {

using Existing = ObjectTarget::Existing;

constexpr std::int64_t kAnyTime = 4'000'000'000;  // after whatever a server's clock says

/// The server, for all tests of this program.
class Gateway {
 public:
  Gateway() {
    ::setenv("no_proxy", "127.0.0.1,localhost", 1);
    const std::string log = folder_ / "log";
    const std::string command =
        kScript + " start '" + (folder_ / "ceph").string() + "' " + std::to_string(::getpid()) + " 2>'" + log + "'";
    FILE* const output = ::popen(command.c_str(), "re");
    std::array<char, 512> line{};
    while (std::fgets(line.data(), line.size(), output) != nullptr) {
      const std::string text{line.data()};
      const std::size_t equals = text.find('=');
      settings_[text.substr(0, equals)] = text.substr(equals + 1, text.size() - equals - 2);
    }
    const int status = ::pclose(output);
    started_ = status == 0;
    missing_ = WIFEXITED(status) && WEXITSTATUS(status) == 77;
    std::stringstream text;
    text << std::ifstream{log}.rdbuf();
    log_ = text.str();
  }
  Gateway(const Gateway&) = delete;
  Gateway& operator=(const Gateway&) = delete;
  ~Gateway() {
    const std::string command = kScript + " stop '" + (folder_ / "ceph").string() + "'";
    if (std::system(command.c_str()) != 0) std::cerr << "the gateway was not stopped\n";
  }

  /// Killed, and started again.
  bool restart() const {
    return std::system((kScript + " restart '" + (folder_ / "ceph").string() + "'").c_str()) == 0;
  }

  bool started() const { return started_; }
  bool missing() const { return missing_; }  ///< programs
  const std::string& log() const { return log_; }
  const std::string& operator[](const std::string& name) const { return settings_.at(name); }

 private:
  const std::string kScript = std::string{STELLARIUM_TESTS_DIR} + "/support/ceph_s3";
  test::TempDir folder_;
  std::map<std::string, std::string> settings_;
  bool started_ = false, missing_ = false;
  std::string log_;
};

class S3Ceph : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { gateway_ = std::make_unique<Gateway>(); }
  static void TearDownTestSuite() { gateway_.reset(); }
  void SetUp() override {
    if (gateway_->missing()) STELLARIUM_CANNOT_RUN(gateway_->log());
    ASSERT_TRUE(gateway_->started()) << gateway_->log();
  }

  /// Each test has a prefix of its own.
  static Options options() {
    Options made;
    made.endpoint = (*gateway_)["endpoint"];
    made.region = (*gateway_)["region"];
    made.bucket = (*gateway_)["bucket"];
    made.prefix = ::testing::UnitTest::GetInstance()->current_test_info()->name();
    made.part_size = 5u << 20;
    made.tries = 3;
    return made;
  }
  static Credentials credentials() { return {(*gateway_)["key_id"], (*gateway_)["secret"], ""}; }

  static std::unique_ptr<S3Target> open(const Options& with = options(), const Credentials& keys = credentials()) {
    auto made = S3Target::create(with, keys);
    EXPECT_TRUE(made) << to_string(made.error());
    return std::move(*made);
  }

  static std::map<std::string, std::uint64_t> listed(S3Target& target, const std::string& prefix = "") {
    std::map<std::string, std::uint64_t> found;
    const auto done = target.list(prefix, [&](const ObjectTarget::Listed& each) -> Result<void> {
      EXPECT_TRUE(found.emplace(each.path, each.size).second) << each.path << " twice";
      EXPECT_NEAR(static_cast<double>(each.written), static_cast<double>(std::time(nullptr)), 600);
      return {};
    });
    EXPECT_TRUE(done) << to_string(done.error());
    return found;
  }

  static std::unique_ptr<Gateway> gateway_;
};

std::unique_ptr<Gateway> S3Ceph::gateway_;

std::string text(const Result<void>& result) {
  return result ? "success" : std::string{name_of(result.error().code)} + ": " + to_string(result.error());
}

/// What an error says behind the place.
std::string words(const Error& error) {
  return error.context.substr(error.context.rfind(": http") + 2);
}

TEST_F(S3Ceph, WritesKeepsReplacesAndRemoves) {
  const auto target = open();
  EXPECT_EQ(*target->size_of("blobs/a+b"), std::nullopt);
  EXPECT_EQ(*target->read("blobs/a+b", 100), std::nullopt);
  EXPECT_EQ(text(target->write("blobs/a+b", as_bytes("hello"), Existing::keep)), "success");
  EXPECT_EQ(text(target->write("blobs/a+b", as_bytes("HELLO"), Existing::keep)), "success");
  EXPECT_EQ(target->write("blobs/a+b", as_bytes("longer"), Existing::keep).error().code, Errc::exists);
  EXPECT_EQ(**target->read("blobs/a+b", 100), "hello");
  EXPECT_EQ(text(target->write("blobs/a+b", as_bytes("longer"), Existing::replace)), "success");
  EXPECT_EQ(**target->read("blobs/a+b", 6), "longer");
  EXPECT_EQ(target->read("blobs/a+b", 5).error().code, Errc::invalid_argument);
  EXPECT_EQ(text(target->write("names/empty", {}, Existing::replace)), "success");
  EXPECT_EQ(**target->size_of("names/empty"), 0u);
  EXPECT_EQ(listed(*target), (std::map<std::string, std::uint64_t>{{"blobs/a+b", 6}, {"names/empty", 0}}));
  EXPECT_EQ(text(target->remove("blobs/a+b")), "success");
  EXPECT_EQ(text(target->remove("blobs/a+b")), "success");
  EXPECT_EQ(*target->size_of("blobs/a+b"), std::nullopt);
}

TEST_F(S3Ceph, OnlyOneOfManyWritersCreates) {
  const auto target = open();
  std::vector<std::thread> writers;
  std::atomic<int> created{0};
  for (int writer = 0; writer < 8; ++writer) {
    writers.emplace_back([&, writer] {
      const std::string mine(static_cast<std::size_t>(writer) + 1, 'x');
      const auto kept = target->write("blobs/1", as_bytes(mine), Existing::keep);
      if (kept) {
        ++created;
      } else {
        EXPECT_EQ(kept.error().code, Errc::exists) << to_string(kept.error());
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  EXPECT_EQ(created, 1);
}

TEST_F(S3Ceph, LargeObjectsGoUpInParts) {
  Options with = options();
  with.part_size = Options{}.part_size;
  const auto target = open(with);
  const auto bytes = test::random_bytes(/*seed=*/5, 40'000'000);
  auto begun = std::chrono::steady_clock::now();
  ASSERT_EQ(text(target->write("blobs/large", bytes, Existing::keep)), "success");
  const std::chrono::duration<double> wrote = std::chrono::steady_clock::now() - begun;
  EXPECT_EQ(**target->size_of("blobs/large"), bytes.size());
  begun = std::chrono::steady_clock::now();
  const auto read = target->read("blobs/large", bytes.size());
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun;
  ASSERT_TRUE(read && *read) << to_string(read.error());
  EXPECT_TRUE(test::same_bytes(as_bytes(**read), bytes));
  std::cout << "40 MB: written in " << wrote.count() << " s, read in " << took.count() << " s\n";

  const auto before = target->counters().sent;
  EXPECT_EQ(text(target->write("blobs/large", bytes, Existing::keep)), "success");
  EXPECT_EQ(target->counters().sent, before);
  EXPECT_EQ(target->write("blobs/large", ByteSpan{bytes}.first(20u << 20), Existing::keep).error().code, Errc::exists);
  EXPECT_EQ(text(target->write("blobs/large", ByteSpan{bytes}.first(20u << 20), Existing::replace)), "success");
  EXPECT_EQ(**target->size_of("blobs/large"), 20u << 20);
  EXPECT_EQ(*target->remove_unfinished(kAnyTime), 0u);
}

TEST_F(S3Ceph, ListsMoreThanAPage) {
  const auto target = open();
  constexpr int kKeys = 1500, kThreads = 4;
  std::vector<std::thread> writers;
  for (int thread = 0; thread < kThreads; ++thread) {
    writers.emplace_back([&, thread] {
      for (int key = thread; key < kKeys; key += kThreads)
        EXPECT_TRUE(target->write("blobs/" + std::to_string(key), as_bytes("x"), Existing::keep));
    });
  }
  for (std::thread& writer : writers) writer.join();
  EXPECT_TRUE(target->write("manifests/1.json", as_bytes("{}"), Existing::keep));
  const auto requests = target->counters().requests;
  const auto found = listed(*target, "blobs/");
  EXPECT_EQ(found.size(), 1500u);
  EXPECT_EQ(found.count("blobs/1499"), 1u);
  EXPECT_EQ(target->counters().requests, requests + 2);
  EXPECT_EQ(listed(*target).size(), 1501u);
  EXPECT_EQ(listed(*target, "blobs/149").size(), 11u);
}

TEST_F(S3Ceph, TheProbeFindsWhatTheServerCanAndLeavesNothing) {
  const auto target = open();
  const auto capabilities = target->probe();
  ASSERT_TRUE(capabilities) << to_string(capabilities.error());
  std::cout << "keeps objects in parts in one step: " << capabilities->keeps_in_parts << "\n";
  EXPECT_TRUE(listed(*target).empty());
  EXPECT_EQ(*target->remove_unfinished(kAnyTime), 0u);

  Options with = options();
  with.bucket = (*gateway_)["versioned_bucket"];
  const auto versioned = open(with)->probe();
  ASSERT_FALSE(versioned);
  EXPECT_EQ(versioned.error().code, Errc::not_supported);
  EXPECT_NE(versioned.error().context.find("the bucket keeps old versions"), std::string::npos);
  EXPECT_TRUE(listed(*open(with)).empty());
}

TEST_F(S3Ceph, SaysWhatIsWrong) {
  Options with = options();
  with.bucket = "nobody-made-this";
  EXPECT_NE(words(open(with)->size_of("a").error()).find("there is no such bucket"), std::string::npos);
  with = options();
  Credentials keys = credentials();
  keys.secret += "x";
  Error error = open(with, keys)->size_of("a").error();
  EXPECT_EQ(error.code, Errc::permission);
  EXPECT_NE(words(error).find("the secret key does not belong to the access key"), std::string::npos) << error.context;
  keys.key_id = "NOBODY";
  error = open(with, keys)->write("a", as_bytes("x"), Existing::replace).error();
  EXPECT_NE(words(error).find("the server does not know the access key"), std::string::npos) << error.context;
  with.clock = [] { return std::int64_t{std::time(nullptr)} - 3600; };
  error = open(with)->remove("a").error();
  EXPECT_NE(words(error).find("s behind the server's: set it (403 RequestTimeTooSkewed)"), std::string::npos)
      << error.context;
}

TEST_F(S3Ceph, SpeaksOverTlsToWhoItTrusts) {
  Options with = options();
  with.endpoint = (*gateway_)["secure_endpoint"];
  const auto stranger = open(with)->write("a", as_bytes("x"), Existing::replace);
  ASSERT_FALSE(stranger);
  EXPECT_EQ(stranger.error().code, Errc::unavailable);
  EXPECT_NE(stranger.error().context.find("certificate"), std::string::npos) << stranger.error().context;
  with.ca_file = (*gateway_)["certificate"];
  const auto target = open(with);
  EXPECT_EQ(text(target->write("a", test::random_bytes(/*seed=*/1, 3'000'000), Existing::replace)), "success");
  EXPECT_EQ(**target->size_of("a"), 3'000'000u);
}

TEST_F(S3Ceph, FindsBucketsThatAreNamesOfHosts) {
  Options with = options();
  with.endpoint = (*gateway_)["named_endpoint"];
  with.addressing = Addressing::virtual_host;
  EXPECT_EQ(text(open(with)->write("blobs/a+b", as_bytes("hello"), Existing::keep)), "success");
  EXPECT_EQ(**open()->read("blobs/a+b", 5), "hello");
  EXPECT_EQ(listed(*open(with)).size(), 1u);
}

TEST_F(S3Ceph, AServerThatIsKilledAndComesBackCostsRetries) {
  Options with = options();
  with.tries = Options{}.tries;
  const auto target = open(with);
  const auto bytes = test::random_bytes(/*seed=*/4, 40'000'000);
  Result<void> written;
  std::thread writer{[&] { written = target->write("blobs/1", bytes, Existing::keep); }};
  while (target->counters().requests < 4) std::this_thread::yield();
  EXPECT_TRUE(gateway_->restart());
  writer.join();
  EXPECT_EQ(text(written), "success");
  EXPECT_GE(target->counters().retries, 1u);
  const auto read = target->read("blobs/1", bytes.size());
  ASSERT_TRUE(read && *read);
  EXPECT_TRUE(test::same_bytes(as_bytes(**read), bytes));
  EXPECT_EQ(*target->remove_unfinished(kAnyTime), 0u);
}

/// A process that writes blobs/1 and dies at its `last` request: before that, or while it is under way.
int killed_writer(const Options& options, const Credentials& credentials, ByteSpan bytes, int last, bool under_way) {
  const pid_t writer = ::fork();
  if (writer == 0) {
    Options with = options;
    // Every request is signed with the time, so this is asked before each.
    with.clock = [=, request = 0]() mutable -> std::int64_t {
      if (++request == last && !under_way) ::kill(::getpid(), SIGKILL);
      if (request == last) {
        std::thread{[] {
          std::this_thread::sleep_for(std::chrono::milliseconds{3});
          ::kill(::getpid(), SIGKILL);
        }}.detach();
      }
      return std::time(nullptr);
    };
    auto target = S3Target::create(with, credentials);
    if (target) static_cast<void>((*target)->write("blobs/1", bytes, Existing::replace));
    ::_exit(1);
  }
  int status = 0;
  ::waitpid(writer, &status, 0);
  return status;
}

TEST_F(S3Ceph, AWriterThatIsKilledLeavesNoObject) {
  const auto bytes = test::random_bytes(/*seed=*/9, 26u << 20);
  constexpr int kRequests = 1 + 6 + 1;  // the upload's begin, its parts, its end
  const auto target = open();
  unsigned left = 0, whole = 0;
  for (int last = 1; last <= kRequests; ++last) {
    for (const bool under_way : {false, true}) {
      const int status = killed_writer(options(), credentials(), bytes, last, under_way);
      const auto size = target->size_of("blobs/1");
      ASSERT_TRUE(size) << to_string(size.error());
      if (!under_way) {
        EXPECT_TRUE(WIFSIGNALED(status)) << "request " << last;
        EXPECT_EQ(*size, std::nullopt) << "killed before request " << last;
      } else if (*size) {  // it was quicker than the kill, or the last request had arrived
        EXPECT_EQ(**size, bytes.size()) << "killed during request " << last << ": half an object";
        ++whole;
      }
      const auto removed = target->remove_unfinished(kAnyTime);
      ASSERT_TRUE(removed) << to_string(removed.error());
      left += *removed != 0 ? 1 : 0;
      ASSERT_TRUE(target->remove("blobs/1"));
    }
  }
  std::cout << left << " of " << 2 * kRequests << " killed writers left parts, which were removed; " << whole
            << " left the whole object\n";
  EXPECT_GE(left, static_cast<unsigned>(kRequests - 1));
  EXPECT_EQ(text(target->write("blobs/1", bytes, Existing::keep)), "success");
  EXPECT_EQ(listed(*target), (std::map<std::string, std::uint64_t>{{"blobs/1", bytes.size()}}));
}

}  // namespace
}  // namespace stellarium::cdn::s3
