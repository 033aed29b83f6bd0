#include "tools/server/server.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>

#include "base/log.h"
#include "tools/protocol/address.h"
#include "tools/protocol/build_info.h"

namespace stellarium::server {
namespace {

using protocol::MessageType;

constexpr int kFirstMessagePatience = 5000;  // milliseconds for a peer to say hello, and to say what it wants
constexpr int kLastMessagePatience = 1000;   // milliseconds for a peer to hang up
constexpr auto kRestartPatience =
    std::chrono::seconds{60};  // running commands get this long before a restart cancels them

Result<protocol::Frame> receive_soon(const protocol::Channel& channel, MessageType expected) {
  auto ready = channel.readable(kFirstMessagePatience);
  if (!ready) return fail(ready.error());
  if (!*ready) return fail(Errc::unavailable, "the command said nothing");
  auto frame = channel.receive();
  if (frame && frame->type != wire(expected)) return fail(Errc::invalid_argument, "an unexpected message");
  return frame;
}

/// Waits until the peer has hung up: closing a socket in which something is still unread would take back what we said
/// last.
void linger(const protocol::Channel& channel) {
  ::shutdown(channel.fd(), SHUT_WR);
  while (channel.readable(kLastMessagePatience).value_or(false) && channel.receive()) continue;
}

void wake(const UniqueFd& eventfd) {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(eventfd.get(), &one, sizeof one);
}

/// Only the store's owner and root may speak to us: whoever can, can read every image.
Result<void> check_peer(const protocol::Channel& channel) {
  const auto peer = protocol::peer_of(channel.fd());
  if (!peer) return fail(peer.error());
  if (peer->uid == 0 || peer->uid == ::geteuid()) return {};
  return fail(Errc::permission, "the store belongs to user " + std::to_string(::geteuid()) + ", you are user " +
                                    std::to_string(peer->uid));
}

}  // namespace

Server::Server(Setup setup)
    : setup_{std::move(setup)},
      wake_{std::make_shared<const UniqueFd>(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK))},
      outliving_{::epoll_create1(EPOLL_CLOEXEC)},
      began_{std::chrono::steady_clock::now()} {}

Server::~Server() {
  cancel_sessions();
  reap_sessions(true);
}

void Server::end(keeper::Ending ending) {
  int going_on = -1;
  if (ending == keeper::Ending::restart) {
    ending_.compare_exchange_strong(going_on, static_cast<int>(ending));  // a stop stays a stop
  } else {
    ending_ = static_cast<int>(ending);
  }
  wake(*wake_);
}

double Server::uptime_seconds() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - began_).count();
}

keeper::Ending Server::serve() {
  while (ending_ < 0) {
    std::array<pollfd, 4> events{{{wake_->get(), POLLIN, 0},
                                  {setup_.signals, POLLIN, 0},
                                  {outliving_.get(), POLLIN, 0},
                                  {is_full() ? -1 : setup_.listener.get(), POLLIN, 0}}};
    if (::poll(events.data(), events.size(), -1) < 0 && errno != EINTR) break;
    std::uint64_t count = 0;
    if (events[0].revents != 0) [[maybe_unused]]
      const auto got = ::read(wake_->get(), &count, sizeof count);
    if (events[1].revents != 0) end(keeper::Ending::restart);
    if (events[2].revents != 0) look_after_outliving();
    if (events[3].revents != 0) accept_one();
    reap_sessions(false);
  }
  const auto ending = static_cast<keeper::Ending>(ending_.load());
  const auto deadline =
      std::chrono::steady_clock::now() + (ending == keeper::Ending::stop ? std::chrono::seconds{0} : kRestartPatience);
  reap_sessions(false);
  while (!sessions_.empty() && std::chrono::steady_clock::now() < deadline) {
    pollfd event{wake_->get(), POLLIN, 0};
    ::poll(&event, 1, 100);
    reap_sessions(false);
  }
  cancel_sessions();
  reap_sessions(true);
  return ending;
}

bool Server::is_full() const {
  return std::ranges::count_if(sessions_, [](const Session& each) { return each.state != State::outliving; }) >=
         static_cast<std::ptrdiff_t>(kMaxCommands);
}

void Server::accept_one() {
  UniqueFd socket{::accept4(setup_.listener.get(), nullptr, nullptr, SOCK_CLOEXEC)};
  if (!socket) return;  // it went away again
  Session& session = sessions_.emplace_back();
  session.channel = protocol::Channel{std::move(socket)};
  if (!start(session, &Server::talk)) sessions_.pop_back();
}

bool Server::start(Session& session, void (Server::*life)(Session&)) {
  try {
    session.thread = std::thread{[this, &session, life] { (this->*life)(session); }};
  } catch (const std::system_error& thrown) {  // no more threads: this command is hung up on, the others go on
    log::error("a command cannot be run: {}", thrown.what());
    return false;
  }
  return true;
}

void Server::set_state(Session& session, State state) {
  session.state = state;
  wake(*wake_);
}

void Server::talk(Session& session) {
  try {
    converse(session);
  } catch (const std::exception& thrown) {  // out of memory, mostly: ends the command, not the server
    log::error("a command ended with an exception: {}", thrown.what());
  }
  if (session.io && session.io->outlives()) return set_state(session, State::outliving);
  say_goodbye(session);
}

void Server::say_goodbye(Session& session) {
  linger(session.channel);
  set_state(session, State::ended);
}

void Server::end_outliving(Session& session) {
  session.io->let_go();
  // Who loses his server to another one asks that.
  if (ending_ == static_cast<int>(keeper::Ending::stop) || ending_ < 0)
    session.io->exit(session.io->over().value_or(0));
  say_goodbye(session);
}

void Server::end_soon(Session& session) {
  ::epoll_ctl(outliving_.get(), EPOLL_CTL_DEL, session.channel.fd(), nullptr);
  session.state = State::running;
  if (!start(session, &Server::end_outliving)) end_outliving(session);
}

void Server::look_after_outliving() {
  std::array<epoll_event, 64> events;
  const int ready = ::epoll_wait(outliving_.get(), events.data(), static_cast<int>(events.size()), 0);
  for (int i = 0; i < ready; ++i) {
    Session& session = *static_cast<Session*>(events[static_cast<std::size_t>(i)].data.ptr);
    if (session.io->cancelled_now()) end_soon(session);
  }
}

void Server::reap_sessions(bool wait) {
  for (auto session = sessions_.begin(); session != sessions_.end();) {
    if (session->state == State::outliving && session->thread.joinable()) watch(*session);
    if (session->state == State::outliving && (wait || ending_ >= 0 || session->io->over())) end_soon(*session);
    if (!wait && session->state != State::ended) {
      ++session;
      continue;
    }
    if (session->thread.joinable()) session->thread.join();
    session = sessions_.erase(session);
  }
}

/// Its function has returned, and with it its thread.
void Server::watch(Session& session) {
  session.thread.join();
  epoll_event event{.events = EPOLLIN, .data = {.ptr = &session}};
  ::epoll_ctl(outliving_.get(), EPOLL_CTL_ADD, session.channel.fd(), &event);
}

void Server::cancel_sessions() {
  for (Session& session : sessions_) {
    if (session.state != State::running) continue;
    if (ChannelIo* io = session.cancellable) io->cancel();
    ::shutdown(session.channel.fd(), SHUT_RD);  // wakes whoever waits for the peer; what is still to be said goes out
  }
}

void Server::converse(Session& session) {
  const protocol::Channel& channel = session.channel;
  if (auto allowed = check_peer(channel); !allowed) {
    (void)channel.send(wire(MessageType::refused), to_string(allowed.error()));
    return;
  }
  auto greeting = receive_soon(channel, MessageType::hello);
  auto hello = greeting ? protocol::Hello::decode(greeting->payload) : Result<protocol::Hello>{fail(greeting.error())};
  if (!hello) return;
  if (hello->version != protocol::kProtocolVersion) {
    (void)channel.send(wire(MessageType::refused),
                       "it speaks protocol version " + std::to_string(protocol::kProtocolVersion) + " (stellarium " +
                           protocol::build_id() + "), the command speaks version " + std::to_string(hello->version) +
                           ": stop it with a stellarium of its version");
    return;
  }
  const protocol::Welcome welcome{.build = protocol::build_id(),
                                  .store_uuid = setup_.store_uuid,
                                  .server_pid = static_cast<std::uint32_t>(setup_.process)};
  if (!channel.send(wire(MessageType::welcome), welcome.encode())) return;

  auto frame = receive_soon(channel, MessageType::request);
  if (!frame) return;
  auto request = protocol::Request::decode(frame->payload);
  if (!request) return;
  session.io = std::make_unique<ChannelIo>(channel, std::move(frame->descriptors), request->wants_progress,
                                           [wake_up = wake_] { wake(*wake_up); });
  session.cancellable = session.io.get();
  const int code = run_command(*request, hello->build == protocol::build_id(), *session.io);
  session.cancellable = nullptr;
  if (code != 0) session.io->let_go();
  if (!session.io->outlives()) session.io->exit(code);
}

int Server::run_command(const protocol::Request& request, bool same_build, ChannelIo& io) {
  const auto parsed = cli::CommandLine::parse(request.words);
  if (const auto* answer = std::get_if<cli::Answer>(&parsed)) {
    answer->exit_code == 0 ? io.out(answer->text) : io.err(answer->text);
    return answer->exit_code;
  }
  const auto& invocation = std::get<cli::Invocation>(parsed);
  if (!same_build && !std::holds_alternative<cli::DaemonOptions>(invocation.command)) {
    return io.complain(
        Error{Errc::version, "the daemon is another build of stellarium: 'stellarium daemon upgrade' replaces it", 0});
  }
  return setup_.run(invocation, io, *this);
}

}  // namespace stellarium::server
