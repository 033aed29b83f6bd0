#pragma once
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "support/temp_dir.h"
#include "tier/tier.h"
#include "unit/tier/memory_store.h"

namespace stellarium::tier::testing {

inline std::vector<std::byte> read_fd(int fd, std::size_t size) {
  std::vector<std::byte> bytes(size + 1);
  const ssize_t n = ::pread(fd, bytes.data(), bytes.size(), 0);
  bytes.resize(n < 0 ? 0 : static_cast<std::size_t>(n));
  return bytes;
}

inline Result<HotFilePtr> make_hot(Tier& tier, const ContentRef& content) {
  std::promise<Result<HotFilePtr>> promise;
  tier.make_hot(content, [&](Result<HotFilePtr> result) { promise.set_value(std::move(result)); });
  return promise.get_future().get();
}

/// Whether `condition` comes true. The fill thread that calls back lets go of the file a moment after the callback.
template <typename Condition>
bool eventually(const Condition& condition) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds{20};
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

inline Result<std::vector<std::byte>> read_all(Tier& tier, const ContentRef& content, std::size_t step) {
  std::vector<std::byte> bytes(content.size);
  for (std::size_t at = 0; at < bytes.size(); at += step) {
    const auto part = std::span{bytes}.subspan(at, std::min(step, bytes.size() - at));
    const Result<std::size_t> n = tier.read(content, at, part);
    if (!n) return fail(n.error());
    if (*n != part.size()) return fail(Errc::io, "short read");
  }
  return bytes;
}

/// A tier over a MemoryStore in a temporary folder.
class TierFixture : public ::testing::Test {
 protected:
  static constexpr std::uint64_t kBudget = 64u << 20;

  void open(std::uint64_t hot_budget = kBudget, std::uint64_t frame_budget = 8u << 20) {
    tier_.reset();
    Result<std::unique_ptr<Tier>> tier =
        Tier::open(store_, io(), hot_dir(),
                   {.hot_budget = hot_budget, .frame_budget = frame_budget, .fill_threads = 2, .private_mount = true});
    ASSERT_TRUE(tier) << to_string(tier.error());
    tier_ = std::move(*tier);
  }
  virtual Io& io() { return system_io(); }
  std::filesystem::path hot_dir() const { return folder_.path() / "hot"; }
  std::filesystem::path file_of(const ContentRef& content) const { return hot_dir() / "files" / content.id.hex(); }

  /// As if the machine had gone down since without a clean stop.
  void pretend_another_boot() const {
    std::ofstream{hot_dir() / "trust"}
        << "stellarium hot folder 1\nboot 00000000-0000-0000-0000-000000000000\nstate open\n";
  }
  static void flip_a_bit(const std::filesystem::path& file, std::size_t at) {
    std::filesystem::permissions(file, std::filesystem::perms::owner_write, std::filesystem::perm_options::add);
    std::fstream stream{file, std::ios::in | std::ios::out | std::ios::binary};
    stream.seekg(static_cast<std::streamoff>(at));
    const char byte = static_cast<char>(stream.get() ^ 1);
    stream.seekp(static_cast<std::streamoff>(at));
    stream.put(byte);
  }

  test::TempDir folder_;
  MemoryStore store_;
  std::unique_ptr<Tier> tier_;
};

}  // namespace stellarium::tier::testing
