#pragma once
#include <atomic>
#include <vector>

#include "base/mutex.h"
#include "tools/protocol/channel.h"
#include "tools/server/command_io.h"

namespace stellarium::server {

/// A command process at the other end of a socket. A process that goes away cancels its command.
class ChannelIo final : public CommandIo {
 public:
  ChannelIo(const protocol::Channel& channel, std::vector<UniqueFd> descriptors, bool wants_progress)
      : channel_{channel}, descriptors_{std::move(descriptors)}, wants_progress_{wants_progress} {}

  void out(std::string_view bytes) override;
  void err(std::string_view text) override;
  void progress(const protocol::Progress& progress) override EXCLUDES(mutex_);
  bool cancelled() override EXCLUDES(mutex_);
  bool wait(std::chrono::milliseconds time) override;
  Result<UniqueFd> take_stream() override;
  bool wait_for_stream(int fd, bool to_read) override;
  bool stream_was_complete() override;
  void contents(const protocol::ContentList& list) override;
  void answer_questions(ContentLookup lookup) override { lookup_ = std::move(lookup); }
  void proceed(bool writable) override;
  Result<UniqueFd> receive_device(bool writable) override EXCLUDES(mutex_);

  void exit(int code);                  ///< flushes, and ends the conversation
  void cancel() { cancelled_ = true; }  ///< the server is stopping

 private:
  void send(protocol::MessageType type, std::string_view payload);
  void flush();
  /// Takes what the peer has sent by now.
  void take_messages() EXCLUDES(mutex_);
  void answer(std::string_view question);
  bool cancelled_now() EXCLUDES(mutex_);

  const protocol::Channel& channel_;
  std::vector<UniqueFd> descriptors_;
  const bool wants_progress_;
  std::string pending_;   ///< output that does not fill a frame yet
  ContentLookup lookup_;  ///< of the thread that runs the command
  std::atomic<bool> cancelled_ = false, complete_ = false;
  Mutex mutex_;
  UniqueFd device_ GUARDED_BY(mutex_);
  std::chrono::steady_clock::time_point last_progress_ GUARDED_BY(mutex_){}, last_look_ GUARDED_BY(mutex_){};
};

}  // namespace stellarium::server
