#include "tools/server/channel_io.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <array>
#include <cerrno>

#include "tools/text/escape.h"

namespace stellarium::server {
namespace {

using namespace std::chrono_literals;
using protocol::MessageType;

constexpr auto kProgressPause = 100ms;
constexpr auto kLookPause = 5ms;                       // an import asks for every member, and looking is a system call
constexpr unsigned kFuseMajor = 10, kFuseMinor = 229;  // /dev/fuse
constexpr int kCancelCheck = 1000;                     // milliseconds between looks at our own flag

}  // namespace

int CommandIo::complain(const Error& error) {
  err("stellarium: " + text::escape(to_string(error)) + "\n");
  return 1;
}

void ChannelIo::send(MessageType type, std::string_view payload) {
  if (!channel_.send(wire(type), payload)) cancelled_ = true;  // nobody is left to tell
}

void ChannelIo::flush() {
  if (!pending_.empty()) send(MessageType::output, pending_);
  pending_.clear();
}

void ChannelIo::out(std::string_view bytes) {
  while (!bytes.empty() && !cancelled_) {
    const std::string_view part = bytes.substr(0, protocol::kMaxPayload - pending_.size());
    pending_ += part;
    bytes.remove_prefix(part.size());
    if (pending_.size() == protocol::kMaxPayload) flush();
  }
}

void ChannelIo::err(std::string_view text) {
  flush();
  send(MessageType::complaint, text.substr(0, protocol::kMaxPayload));
}

void ChannelIo::progress(const protocol::Progress& progress) {
  if (!wants_progress_) return;
  const auto now = std::chrono::steady_clock::now();
  {
    MutexLock lock{mutex_};
    if (now - last_progress_ < kProgressPause) return;
    last_progress_ = now;
  }
  send(MessageType::progress, progress.encode());
}

void ChannelIo::take_messages() {
  std::vector<std::string> questions;
  {
    MutexLock lock{mutex_};
    last_look_ = std::chrono::steady_clock::now();
    while (!cancelled_ && channel_.readable(0).value_or(false)) {
      auto frame = channel_.receive();
      if (!frame) {
        cancelled_ = true;
      } else if (frame->type == wire(MessageType::stream_end)) {
        complete_ = true;
      } else if (frame->type == wire(MessageType::device) && frame->descriptors.size() == 1) {
        device_ = std::move(frame->descriptors.front());
      } else if (frame->type == wire(MessageType::question)) {
        questions.push_back(std::move(frame->payload));
      } else {
        cancelled_ = true;  // MessageType::cancel, or nothing that belongs here
      }
    }
  }
  for (const std::string& question : questions) answer(question);
}

void ChannelIo::answer(std::string_view question) {
  const auto asked = protocol::ContentQuestion::decode(question);
  if (!asked || !lookup_) {
    cancelled_ = true;
    return;
  }
  protocol::ContentAnswer answer;
  // "No" is always safe: the content comes as data then.
  for (const auto& [id, size] : asked->contents) answer.present.push_back(lookup_(id, size).value_or(false));
  send(MessageType::answer, answer.encode());
}

bool ChannelIo::cancelled() {
  {
    MutexLock lock{mutex_};
    if (std::chrono::steady_clock::now() - last_look_ < kLookPause) return cancelled_;
  }
  return cancelled_now();
}

bool ChannelIo::cancelled_now() {
  take_messages();
  return cancelled_;
}

bool ChannelIo::wait(std::chrono::milliseconds time) {
  flush();
  const auto deadline = std::chrono::steady_clock::now() + time;
  while (!cancelled_now()) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (left <= 0ms) return true;
    (void)channel_.readable(
        static_cast<int>(std::min<std::int64_t>(left.count(), kCancelCheck)));  // an error shows in cancelled()
  }
  return false;
}

Result<UniqueFd> ChannelIo::take_stream() {
  if (descriptors_.empty() || !descriptors_.front()) return fail(Errc::invalid_argument, "the command sent no stream");
  UniqueFd stream = std::move(descriptors_.front());
  struct stat status {};
  if (::fstat(stream.get(), &status) != 0) return fail_errno("fstat");
  // Anything else could be a file on a mount of ours, and the server must never wait for itself.
  if (!S_ISFIFO(status.st_mode) && !S_ISSOCK(status.st_mode)) {
    return fail(Errc::invalid_argument, "the command sent a descriptor that is neither a pipe nor a socket");
  }
  return stream;
}

Result<UniqueFd> ChannelIo::take_kept() {
  if (descriptors_.size() < 2) return UniqueFd{};
  // Only files in memory have seals: one on a mount of ours has none.
  if (descriptors_.size() > 2 || ::fcntl(descriptors_.back().get(), F_GET_SEALS) < 0)
    return fail(Errc::invalid_argument, "the command sent a descriptor that no server gave it");
  return std::move(descriptors_.back());
}

void ChannelIo::give_to_keep(const UniqueFd& memory) {
  const int descriptor = memory.get();
  if (!channel_.send(wire(MessageType::keep), {}, {&descriptor, 1})) cancelled_ = true;
}

std::function<void(int)> ChannelIo::outlive(std::shared_ptr<void> what) {
  outliving_ = std::move(what);
  return [over = over_, wake = wake_](int code) {
    int goes_on = kGoesOn;
    if (over->compare_exchange_strong(goes_on, code)) wake();
  };
}

std::optional<int> ChannelIo::over() const {
  const int code = *over_;
  return code == kGoesOn ? std::nullopt : std::optional{code};
}

bool ChannelIo::wait_for_stream(int fd, bool to_read) {
  while (!cancelled_now()) {
    std::array<pollfd, 2> events{{{fd, static_cast<short>(to_read ? POLLIN : POLLOUT), 0}, {channel_.fd(), POLLIN, 0}}};
    const int ready = ::poll(events.data(), events.size(), kCancelCheck);
    if (ready < 0 && errno != EINTR) return false;
    if (ready > 0 && events[0].revents != 0) return true;
  }
  return false;
}

bool ChannelIo::stream_was_complete() {
  while (!cancelled_now() && !complete_) (void)channel_.readable(kCancelCheck);
  return complete_;
}

void ChannelIo::contents(const protocol::ContentList& list) {
  send(MessageType::contents, list.encode());
}

void ChannelIo::proceed(bool writable) {
  send(MessageType::proceed, writable ? "w" : "");
}

Result<UniqueFd> ChannelIo::receive_device(bool writable) {
  proceed(writable);
  UniqueFd device;
  while (!device) {
    if (cancelled_now()) return fail(Errc::cancelled, "the command stopped before it had mounted");
    {
      MutexLock lock{mutex_};
      device = std::move(device_);
    }
    if (!device) (void)channel_.readable(kCancelCheck);
  }
  struct stat status {};
  if (::fstat(device.get(), &status) != 0) return fail_errno("fstat");
  if (!S_ISCHR(status.st_mode) || major(status.st_rdev) != kFuseMajor || minor(status.st_rdev) != kFuseMinor) {
    return fail(Errc::invalid_argument, "the command sent a descriptor that is not /dev/fuse");
  }
  return device;
}

void ChannelIo::exit(int code) {
  flush();
  const char byte = static_cast<char>(code);
  send(MessageType::exit, {&byte, 1});
}

}  // namespace stellarium::server
