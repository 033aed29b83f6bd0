#pragma once
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>

#include "base/unique_fd.h"
#include "support/received_message.h"
#include "virtiofsd/protocol.h"

namespace stellarium::test {

/// A monitor's side of a DAX window: reserved addresses into which it maps what it is asked to, by the rules of the
/// protocol. What breaks them is refused and counted.
class GuestWindow {
 public:
  /// `whole_pages_only`: as QEMU, it maps no page of which a file has only a part.
  explicit GuestWindow(std::size_t size, bool whole_pages_only = false)
      : size_{size}, whole_pages_only_{whole_pages_only} {
    void* reserved = ::mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (reserved == MAP_FAILED) throw std::runtime_error("no window");
    bytes_ = static_cast<std::byte*>(reserved);
    open_channel();
  }
  GuestWindow(const GuestWindow&) = delete;
  GuestWindow& operator=(const GuestWindow&) = delete;
  ~GuestWindow() {
    close_channel();
    ::munmap(bytes_, size_);
  }

  int channel() const { return theirs_.get(); }  ///< for SET_BACKEND_REQ_FD
  /// Another one, for a device that goes on with what is mapped.
  int new_channel() {
    close_channel();
    open_channel();
    return channel();
  }
  std::size_t size() const { return size_; }
  /// Of what was mapped before it is asked for.
  const std::byte* at(std::size_t place) {
    const std::lock_guard lock{mutex_};
    return bytes_ + place;
  }
  std::map<std::uint64_t, std::uint64_t> mapped() {
    const std::lock_guard lock{mutex_};
    return mapped_;
  }
  std::atomic<int> broken_rules = 0;
  std::atomic<int> partial_pages = 0;  ///< that it was asked to map, and did not

 private:
  void open_channel() {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) throw std::runtime_error("no channel");
    ours_ = UniqueFd{ends[0]};
    theirs_ = UniqueFd{ends[1]};
    thread_ = std::jthread{[this] { serve(); }};
  }
  void close_channel() {
    theirs_.reset();
    ::shutdown(ours_.get(), SHUT_RDWR);
    thread_.join();
  }
  void serve() {
    while (true) {
      struct {
        virtiofsd::protocol::Header header;
        virtiofsd::protocol::SharedMemoryMap what;
      } __attribute__((packed)) message{};
      const ReceivedMessage received = receive_message(ours_.get(), std::as_writable_bytes(std::span{&message, 1}));
      if (!received.whole) return;
      const UniqueFd& file = received.beside;
      const virtiofsd::protocol::SharedMemoryMap what = message.what;  // it does not lie where one may
      const bool refused = whole_pages_only_ && message.header.request == 9 && is_partial(what, file);
      const bool obeyed = !refused && (message.header.request == 9 ? map(what, file) : unmap(what));
      if (!obeyed) ++(refused ? partial_pages : broken_rules);
      const struct {
        virtiofsd::protocol::Header header;
        std::uint64_t code;
      } __attribute__((packed))
      answer{{message.header.request, 1 | virtiofsd::protocol::header::kReply, 8}, obeyed ? 0u : 1u};
      if ((message.header.flags & virtiofsd::protocol::header::kNeedReply) != 0)
        (void)!::send(ours_.get(), &answer, sizeof answer, MSG_NOSIGNAL);
    }
  }
  static bool is_partial(const virtiofsd::protocol::SharedMemoryMap& what, const UniqueFd& file) {
    struct stat status {};
    return file && ::fstat(file.get(), &status) == 0 &&
           what.file_offset + what.length > static_cast<std::uint64_t>(status.st_size);
  }
  bool map(const virtiofsd::protocol::SharedMemoryMap& what, const UniqueFd& file) {
    struct stat status {};
    if (!file || ::fstat(file.get(), &status) != 0 || what.region != 0 || what.flags != 0) return false;
    if ((what.window_offset | what.file_offset | what.length) % 4096 != 0 || what.length == 0) return false;
    if (what.length > size_ || what.window_offset > size_ - what.length) return false;
    const auto pages = (static_cast<std::uint64_t>(status.st_size) + 4095) / 4096 * 4096;
    if (what.file_offset + what.length > pages) return false;
    const std::lock_guard lock{mutex_};
    for (const auto& [place, length] : mapped_)
      if (what.window_offset < place + length && place < what.window_offset + what.length) return false;
    if (::mmap(bytes_ + what.window_offset, what.length, PROT_READ, MAP_SHARED | MAP_FIXED, file.get(),
               static_cast<off_t>(what.file_offset)) == MAP_FAILED)
      return false;
    mapped_[what.window_offset] = what.length;
    return true;
  }
  bool unmap(const virtiofsd::protocol::SharedMemoryMap& what) {
    const std::lock_guard lock{mutex_};
    const auto found = mapped_.find(what.window_offset);
    if (found == mapped_.end() || found->second != what.length) return false;
    ::mmap(bytes_ + what.window_offset, what.length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED,
           -1, 0);
    mapped_.erase(found);
    return true;
  }

  const std::size_t size_;
  const bool whole_pages_only_;
  std::byte* bytes_ = nullptr;
  UniqueFd ours_, theirs_;
  std::mutex mutex_;
  std::map<std::uint64_t, std::uint64_t> mapped_;
  std::jthread thread_;
};

}  // namespace stellarium::test
