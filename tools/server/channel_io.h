#pragma once
#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/mutex.h"
#include "tools/protocol/channel.h"
#include "tools/server/command_io.h"

namespace stellarium::server {

/// A command process at the other end of a socket. A process that goes away cancels its command.
class ChannelIo final : public CommandIo {
 public:
  /// `wake`: called when the command that outlived its function is over; may be called when this is gone.
  ChannelIo(const protocol::Channel& channel, std::vector<UniqueFd> descriptors, bool wants_progress,
            std::function<void()> wake)
      : channel_{channel},
        descriptors_{std::move(descriptors)},
        wants_progress_{wants_progress},
        wake_{std::move(wake)} {}

  void out(std::string_view bytes) override;
  void err(std::string_view text) override;
  void progress(const protocol::Progress& progress) override EXCLUDES(mutex_);
  bool cancelled() override EXCLUDES(mutex_);
  bool wait(std::chrono::milliseconds time) override;
  Result<UniqueFd> take_stream() override;
  Result<UniqueFd> take_kept() override;
  void give_to_keep(const UniqueFd& memory) override;
  bool wait_for_stream(int fd, bool to_read) override;
  bool stream_was_complete() override;
  void contents(const protocol::ContentList& list) override;
  void answer_questions(ContentLookup lookup) override { lookup_ = std::move(lookup); }
  void proceed(bool writable) override;
  Result<UniqueFd> receive_device(bool writable) override EXCLUDES(mutex_);
  std::function<void(int)> outlive(std::shared_ptr<void> what) override;

  void exit(int code);                  ///< flushes, and ends the conversation
  void cancel() { cancelled_ = true; }  ///< the server is stopping

  bool outlives() const { return outliving_ != nullptr; }
  /// The code of a command that outlived its function and is over; nothing while it goes on. Asks nobody.
  std::optional<int> over() const;
  void let_go() { outliving_.reset(); }  ///< of what the command left
  /// Takes what the peer has sent; whether it stopped or went away.
  bool cancelled_now() EXCLUDES(mutex_);

 private:
  void send(protocol::MessageType type, std::string_view payload);
  void flush();
  /// Takes what the peer has sent by now.
  void take_messages() EXCLUDES(mutex_);
  void answer(std::string_view question);

  const protocol::Channel& channel_;
  std::vector<UniqueFd> descriptors_;
  const bool wants_progress_;
  std::string pending_;   ///< output that does not fill a frame yet
  ContentLookup lookup_;  ///< of the thread that runs the command
  std::atomic<bool> cancelled_ = false, complete_ = false;
  static constexpr int kGoesOn = -1;
  const std::function<void()> wake_;
  const std::shared_ptr<std::atomic<int>> over_ = std::make_shared<std::atomic<int>>(kGoesOn);
  std::shared_ptr<void> outliving_;
  Mutex mutex_;
  UniqueFd device_ GUARDED_BY(mutex_);
  std::chrono::steady_clock::time_point last_progress_ GUARDED_BY(mutex_){}, last_look_ GUARDED_BY(mutex_){};
};

}  // namespace stellarium::server
