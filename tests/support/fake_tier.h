#pragma once
#include <fcntl.h>
#include <linux/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <deque>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>

#include "base/io.h"
#include "tier/tier.h"

namespace stellarium::test {

/// A tier whose contents are plain files in `dir`/contents and whose hot files lie in `dir`/hot. Misses and fills wait
/// until told, where a test wants that.
class FakeTier final : public tier::Tier {
 public:
  /// `private_mount`: hot files are opened through a read-only mount of their own, as in production (needs root).
  explicit FakeTier(const std::filesystem::path& dir, bool private_mount = false)
      : contents_{dir / "contents"}, hot_dir_{dir / "hot"} {
    std::filesystem::create_directories(contents_);
    std::filesystem::create_directories(hot_dir_);
    if (private_mount) {
      const auto fd = ::syscall(SYS_open_tree, AT_FDCWD, hot_dir_.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
      mount_ = UniqueFd{static_cast<int>(fd)};
      mount_attr attributes{.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOATIME,
                            .attr_clr = MOUNT_ATTR__ATIME,
                            .propagation = 0,
                            .userns_fd = 0};
      if (fd < 0 ||
          ::syscall(SYS_mount_setattr, mount_.get(), "", AT_EMPTY_PATH, &attributes, sizeof attributes) != 0) {
        throw std::runtime_error("no private mount");
      }
    } else {
      mount_ = UniqueFd{::open(hot_dir_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    }
  }

  tier::ContentRef add(std::string_view bytes) {
    const cas::ContentId id = cas::hash_of(as_bytes(bytes));
    std::ofstream{contents_ / id.hex(), std::ios::binary} << bytes;
    return {id, bytes.size()};
  }

  // Set by the test while workers look at them.
  std::atomic<bool> fills_wait = false;  ///< make_hot answers at run_waiting()
  std::atomic<bool> fills_fail = false;  ///< make_hot answers out_of_space
  std::atomic<bool> reads_wait = false;  ///< read_if_present finds nothing, read_async answers at run_waiting()
  void run_waiting() {
    while (true) {
      std::function<void()> next;
      {
        const std::lock_guard lock{mutex_};
        if (waiting_.empty()) return;
        next = std::move(waiting_.front());
        waiting_.pop_front();
      }
      next();
    }
  }
  std::size_t waiting() {
    const std::lock_guard lock{mutex_};
    return waiting_.size();
  }
  std::filesystem::path hot_path(const cas::ContentId& id) const { return hot_dir_ / id.hex(); }
  /// As the real tier does before it evicts.
  bool ask_to_let_go(const cas::ContentId& id) { return hook_ && hook_(id); }

  Result<std::size_t> read(const tier::ContentRef& content, std::uint64_t offset, MutableByteSpan out) override {
    const UniqueFd file{::open((contents_ / content.id.hex()).c_str(), O_RDONLY | O_CLOEXEC)};
    if (!file) return fail_errno("content " + content.id.hex());
    return system_io().read_at(file.get(), out, offset);
  }
  std::optional<std::size_t> read_if_present(const tier::ContentRef& content, std::uint64_t offset,
                                             MutableByteSpan out) override {
    if (reads_wait) return std::nullopt;
    const auto got = read(content, offset, out);
    return got ? std::optional{*got} : std::nullopt;
  }
  bool read_hot(const tier::ContentRef& content, std::uint64_t offset, MutableByteParts out) override {
    const auto hot = find_hot(content);
    return hot && read_parts(hot->fd(), out, offset).value_or(0) == size_of(out);
  }
  void read_async(const tier::ContentRef& content, std::uint64_t offset, MutableByteSpan out,
                  std::function<void(Result<std::size_t>)> done) override {
    auto answer = [this, content, offset, out, done = std::move(done)] { done(read(content, offset, out)); };
    if (!reads_wait) return answer();
    const std::lock_guard lock{mutex_};
    waiting_.push_back(std::move(answer));
  }
  tier::HotFilePtr find_hot(const tier::ContentRef& content) override {
    const std::lock_guard lock{mutex_};
    const auto found = hot_.find(content.id);
    return found == hot_.end() ? nullptr : found->second;
  }
  void make_hot(const tier::ContentRef& content, std::function<void(Result<tier::HotFilePtr>)> done) override {
    auto answer = [this, content, done = std::move(done)] { done(fill(content)); };
    if (!fills_wait) return answer();
    const std::lock_guard lock{mutex_};
    waiting_.push_back(std::move(answer));
  }
  bool prefetch(const tier::ContentRef& content, Place place) override {
    const std::lock_guard lock{mutex_};
    return !hot_.contains(content.id) && prefetched_.try_emplace(content.id, place).second;
  }
  /// What was asked for, where; forgotten by this call.
  std::map<cas::ContentId, Place> take_prefetched() {
    const std::lock_guard lock{mutex_};
    return std::exchange(prefetched_, {});
  }
  void set_release_hook(ReleaseHook hook) override { hook_ = std::move(hook); }
  Result<void> pin(const tier::ContentRef&) override { return {}; }
  void unpin(const cas::ContentId&) override {}
  std::uint64_t evict(const std::optional<cas::ContentId>&) override { return 0; }
  Result<ScrubReport> scrub(const cas::ContentStore::Progress&) override { return ScrubReport{}; }
  Stats stats() override { return {}; }

 private:
  class File final : public tier::HotFile {
   public:
    File(tier::ContentRef content, UniqueFd fd) : content_{content}, fd_{std::move(fd)} {}
    const tier::ContentRef& content() const override { return content_; }
    int fd() const override { return fd_.get(); }

   private:
    tier::ContentRef content_;
    UniqueFd fd_;
  };

  Result<tier::HotFilePtr> fill(const tier::ContentRef& content) {
    if (fills_fail) return fail(Errc::out_of_space, "no room");
    const std::lock_guard lock{mutex_};
    const std::string name = content.id.hex();
    if (!std::filesystem::exists(hot_dir_ / name)) {
      std::error_code error;
      std::filesystem::copy_file(contents_ / name, hot_dir_ / (name + ".part"), error);
      if (error) return fail(Errc::not_found, "content " + name);
      std::filesystem::rename(hot_dir_ / (name + ".part"), hot_dir_ / name);
    }
    UniqueFd fd{::openat(mount_.get(), name.c_str(), O_RDONLY | O_CLOEXEC)};
    if (!fd) return fail_errno("opening");
    return hot_[content.id] = std::make_shared<File>(content, std::move(fd));
  }

  std::map<cas::ContentId, Place> prefetched_;
  std::filesystem::path contents_, hot_dir_;
  UniqueFd mount_;
  std::mutex mutex_;
  std::map<cas::ContentId, tier::HotFilePtr> hot_;
  std::deque<std::function<void()>> waiting_;
  ReleaseHook hook_;
};

}  // namespace stellarium::test
