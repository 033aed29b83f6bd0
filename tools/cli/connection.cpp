#include "tools/cli/connection.h"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>

#include "tools/cli/interrupts.h"
#include "tools/cli/progress_display.h"
#include "tools/protocol/build_info.h"
#include "tools/text/escape.h"

namespace stellarium::cli {
namespace {

using protocol::MessageType;

constexpr int kSilenceBeforeNote = 3000;  // milliseconds
constexpr int kAttempts = 5;              // a daemon that is just stopping hangs up on us

Result<protocol::Frame> receive_within(const protocol::Channel& channel, const std::filesystem::path& store,
                                       double patience) {
  const int wait = patience > 0 ? static_cast<int>(patience * 1000) : kSilenceBeforeNote;
  auto ready = channel.readable(wait);
  if (!ready) return fail(ready.error());
  if (!*ready && patience > 0)
    return fail(Errc::unavailable, "the daemon of " + store.string() + " does not answer: see run/server.log there");
  if (!*ready) {
    std::fprintf(stderr, "stellarium: waiting for the daemon of %s (its log: run/server.log there)\n",
                 text::escape(store.string()).c_str());
  }
  return channel.receive();
}

Result<protocol::Welcome> shake_hands(const protocol::Channel& channel, const std::filesystem::path& store,
                                      bool any_build, double patience) {
  const protocol::Hello hello{.build = protocol::build_id()};
  if (auto sent = channel.send(wire(MessageType::hello), hello.encode()); !sent) return fail(sent.error());
  auto frame = receive_within(channel, store, patience);
  if (!frame) return fail(frame.error());
  if (frame->type == wire(MessageType::refused)) return fail(Errc::permission, "the daemon refused: " + frame->payload);
  if (frame->type != wire(MessageType::welcome))
    return fail(Errc::invalid_argument, "the daemon sent an unknown message");
  auto welcome = protocol::Welcome::decode(frame->payload);
  if (welcome && !any_build && welcome->build != protocol::build_id()) {
    return fail(Errc::version, "the daemon is stellarium " + welcome->build + ", this command is " +
                                   protocol::build_id() + ": 'stellarium daemon upgrade' replaces it, mounts stay");
  }
  return welcome;
}

/// Writes everything, also to a slow pipe. A reader that went away ends us as it ends any tool.
void write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0 && errno == EPIPE) {
      ::signal(SIGPIPE, SIG_DFL);
      ::raise(SIGPIPE);
    }
    if (written < 0) std::exit(complain(Error{errc_from_errno(errno), "writing the output", errno}));
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
}

}  // namespace

Result<Connection> Connection::open(const std::filesystem::path& store, Start start, bool any_build, double patience) {
  for (int attempt = 1;; ++attempt) {
    auto socket = reach_daemon(store, start);
    if (!socket) return fail(socket.error());
    protocol::Channel channel{std::move(*socket)};
    auto welcome = shake_hands(channel, store, any_build, patience);
    if (welcome) return Connection{std::move(channel), std::move(*welcome)};
    if (welcome.error().code != Errc::unavailable || attempt == kAttempts || patience > 0) return fail(welcome.error());
    wait_until_stopped(store, 0.2);  // it hung up: it is stopping, or its server died before it read us
  }
}

Result<void> Connection::request(const std::vector<std::string>& words, bool wants_progress,
                                 std::span<const int> descriptors) const {
  const protocol::Request request{words, wants_progress};
  const std::string payload = request.encode();
  if (payload.size() > protocol::kMaxPayload)
    return fail(Errc::invalid_argument, "the command line is longer than 64 KiB");
  return channel_.send(wire(MessageType::request), payload, descriptors);
}

void Connection::cancel() const {
  (void)channel_.send(wire(MessageType::cancel), {});
}  // a server that is gone cancelled it already
void Connection::ask(const protocol::ContentQuestion& question) const {
  (void)channel_.send(wire(MessageType::question), question.encode());
}
void Connection::end_stream() const {
  (void)channel_.send(wire(MessageType::stream_end), {});
}
Result<void> Connection::send_device(int fd) const {
  return channel_.send(wire(MessageType::device), {}, {&fd, 1});
}

int follow(const Connection& connection, const GlobalOptions& options, const Handlers& handlers) {
  const Interrupts interrupts;
  ProgressDisplay display{options.quiet ? ProgressStyle::none : options.progress};
  int interrupted = 0;
  for (;;) {
    std::array<pollfd, 2> events{{{connection.channel().fd(), POLLIN, 0}, {interrupts.fd(), POLLIN, 0}}};
    if (::poll(events.data(), events.size(), -1) < 0 && errno != EINTR) return complain(Error{Errc::io, "poll", errno});
    if (events[1].revents != 0) {
      const int signal = interrupts.take();
      if (handlers.uninterruptible) continue;
      if (interrupted != 0 && signal != 0) std::_Exit(128 + signal);
      if (signal != 0) connection.cancel();
      interrupted = signal != 0 ? signal : interrupted;
    }
    if (events[0].revents == 0) continue;
    auto frame = connection.channel().receive();
    if (!frame) {
      display.clear();
      if (interrupted != 0) return 128 + interrupted;
      if (handlers.lost != nullptr) {
        *handlers.lost = true;
        return 1;
      }
      return complain(Error{Errc::unavailable,
                            "the server ended in the middle of the command: see run/server.log in the store", 0});
    }
    switch (static_cast<MessageType>(frame->type)) {
      case MessageType::output:
        display.clear();
        if (handlers.capture_output != nullptr) {
          handlers.capture_output->append(frame->payload);
        } else {
          write_all(STDOUT_FILENO, frame->payload);
        }
        break;
      case MessageType::complaint:
        display.clear();
        if (!handlers.hide_complaints || !handlers.hide_complaints()) write_all(STDERR_FILENO, frame->payload);
        break;
      case MessageType::progress:
        if (auto progress = protocol::Progress::decode(frame->payload)) {
          if (handlers.progress) handlers.progress(*progress);
          display.show(*progress);
        }
        break;
      case MessageType::contents:
        if (auto list = protocol::ContentList::decode(frame->payload); list && handlers.contents)
          handlers.contents(*list);
        break;
      case MessageType::answer:
        if (auto answer = protocol::ContentAnswer::decode(frame->payload); answer && handlers.answer)
          handlers.answer(std::move(*answer));
        break;
      case MessageType::keep:
        if (handlers.keep && frame->descriptors.size() == 1) handlers.keep(std::move(frame->descriptors.front()));
        break;
      case MessageType::proceed:
        if (auto done = handlers.proceed ? handlers.proceed(frame->payload == "w") : Result<void>{}; !done) {
          connection.cancel();
          display.clear();
          return complain(done.error());
        }
        break;
      case MessageType::exit:
        display.clear();
        if (interrupted != 0) return 128 + interrupted;
        return frame->payload.size() == 1 ? static_cast<std::uint8_t>(frame->payload[0]) : 1;
      default:
        return complain(Error{Errc::invalid_argument, "the server sent an unknown message", 0});
    }
  }
}

std::vector<std::string> words_for(const Invocation& invocation, std::vector<std::string> arguments) {
  std::vector<std::string> words;
  if (invocation.global.json) words.emplace_back("--json");
  if (invocation.global.quiet) words.emplace_back("--quiet");
  if (invocation.global.verbose) words.emplace_back("--verbose");
  words.push_back(invocation.name);
  words.insert(words.end(), std::make_move_iterator(arguments.begin()), std::make_move_iterator(arguments.end()));
  return words;
}

int run_remotely(const Invocation& invocation, const std::filesystem::path& store, bool create) {
  auto connection = Connection::open(store, create ? Start::create_store : Start::if_store);
  if (!connection) return complain(connection.error());
  const bool progress = !invocation.global.quiet && ProgressDisplay::wanted(invocation.global.progress);
  if (auto sent = connection->request(invocation.words, progress); !sent) return complain(sent.error());
  return follow(*connection, invocation.global, {});
}

int complain(const Error& error) {
  std::fprintf(stderr, "stellarium: %s\n", text::escape(to_string(error)).c_str());
  return 1;
}

void print_note(const std::string& line) {
  std::fprintf(stderr, "stellarium: note: %s\n", text::escape(line).c_str());
}

}  // namespace stellarium::cli
