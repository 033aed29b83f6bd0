#include "tools/keeper/keeper.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <ctime>

#include "tools/keeper/process.h"
#include "tools/protocol/address.h"
#include "tools/protocol/run_lock.h"
#include "tools/protocol/sandbox_layers.h"

namespace stellarium::keeper {
namespace {

using namespace std::chrono_literals;

constexpr auto kQuickDeath = 5s;     // a server that lived shorter counts towards the back-off
constexpr auto kFirstPause = 100ms;  // doubled with every further quick death
constexpr auto kLongestPause = 10s;
constexpr unsigned kPatience = 5;  // quick deaths in a row after which a keeper with nothing to keep gives up
constexpr auto kStuckCheck = 5s;
constexpr off_t kLogLimit = 4 << 20;
constexpr std::size_t kMostTransports = 64;

Result<UniqueFd> open_log(const std::filesystem::path& run) {
  const std::filesystem::path file = run / "server.log";
  UniqueFd log{::open(file.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600)};
  if (!log) return fail_errno(file.string());
  if (::lseek(log.get(), 0, SEEK_END) < kLogLimit) return log;
  ::rename(file.c_str(), (run / "server.log.1").c_str());  // if it fails, the old file goes on
  log.reset(::open(file.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600));
  if (!log) return fail_errno(file.string());
  return log;
}

}  // namespace

Result<Keeper> Keeper::create(Setup setup) {
  Keeper keeper{std::move(setup)};
  const std::filesystem::path run = keeper.setup_.store / "run";
  auto log = open_log(run);
  if (!log) return fail(log.error());
  keeper.log_ = std::move(*log);

  if (keeper.setup_.inherited) {
    auto inherited = RecordTable::inherit(*keeper.setup_.inherited);
    if (!inherited || inherited->also.size() != 2)
      return fail(Errc::invalid_argument, "the earlier keeper left a malformed table");
    keeper.table_ = std::move(inherited->table);
    keeper.listener_ = std::move(inherited->also[0]);
    keeper.lock_ = std::move(inherited->also[1]);
  } else {
    if (auto locked = keeper.take_lock(); !locked) return fail(locked.error());
    auto listener = protocol::listen_in(run);
    if (!listener) return fail(listener.error());
    keeper.listener_ = std::move(*listener);
  }
  if (auto watched = keeper.watch_signals(); !watched) return fail(watched.error());
  keeper.oom_score_adj_ = protect_this_process();
  if (!keeper.setup_.oom_score_adj.empty()) keeper.oom_score_adj_ = keeper.setup_.oom_score_adj;
  return keeper;
}

Result<void> Keeper::take_lock() {
  auto lock = protocol::take_lock(setup_.store / "run" / protocol::kKeeperLock);
  if (!lock && lock.error().code == Errc::busy)
    return fail(Errc::busy, "another keeper already runs for " + setup_.store.string());
  if (!lock) return fail(lock.error());
  lock_ = std::move(*lock);
  return {};
}

Result<void> Keeper::watch_signals() {
  sigset_t watched;
  ::sigemptyset(&watched);
  for (const int signal : {SIGCHLD, SIGTERM, SIGINT}) ::sigaddset(&watched, signal);
  ::sigprocmask(SIG_BLOCK, &watched, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGHUP, SIG_IGN);
  signals_.reset(::signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals_) return fail_errno("signalfd");
  return {};
}

int Keeper::run() {
  while (!exit_code_) {
    if (server_ == 0 && Clock::now() >= next_start_) {
      if (auto started = start_server(); !started) {
        log("cannot start the server: " + to_string(started.error()));
        tell_starter("-" + to_string(started.error()));
        return 1;
      }
    }
    std::array<pollfd, 2> events{{{signals_.get(), POLLIN, 0}, {link_.fd(), POLLIN, 0}}};
    ::poll(events.data(), events.size(), milliseconds_to_wait());
    if (events[1].revents != 0) read_link();
    if (events[0].revents != 0) on_signals();
    report_stuck_server();
  }
  return *exit_code_;
}

int Keeper::milliseconds_to_wait() const {
  if (server_ != 0) return static_cast<int>(std::chrono::milliseconds{kStuckCheck}.count());
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(next_start_ - Clock::now());
  return static_cast<int>(std::max<std::int64_t>(left.count(), 0));
}

Result<void> Keeper::start_server() {
  auto ends = protocol::make_socket_pair();
  if (!ends) return fail(ends.error());
  link_ = protocol::Channel{std::move(ends->first)};
  auto pid = start_in_namespace(ends->second.get());
  if (!pid) return fail(pid.error());
  server_ = *pid;
  server_started_ = Clock::now();
  server_was_ready_ = false;
  failure_.clear();
  ending_.reset();
  ends->second.reset();  // the server's end must close with the server
  // If the server dies while it is being told, its exit says so.
  if (auto told = hand_over(); !told) log("handing over: " + to_string(told.error()));
  return {};
}

Result<pid_t> Keeper::start_in_namespace(int link) {
  namespace_.reset();
  if (protocol::SandboxLayers::from_environment().has(protocol::SandboxLayer::pid)) {
    // Without privilege there is none; the server says so.
    if (auto entered = PidNamespace::enter(setup_.programs / "stellarium-keeper")) namespace_ = std::move(*entered);
  }
  auto pid = start_process(setup_.programs / "stellarium-server", {"--store", setup_.store.string()}, link, log_.get(),
                           oom_score_adj_, namespace_ ? namespace_->server_end() : -1);
  if (!namespace_) return pid;
  if (auto left = namespace_->leave(); !left) log(to_string(left.error()));
  if (!pid) namespace_->end();
  return pid;
}

Result<void> Keeper::hand_over() {
  const int listener = listener_.get();
  if (auto sent = link_.send(wire(LinkType::listener), {}, {&listener, 1}); !sent) return sent;
  for (const auto& [name, record] : table_.records()) {
    std::vector<int> descriptors;
    for (const UniqueFd& fd : record.descriptors) descriptors.push_back(fd.get());
    if (auto sent = link_.send(wire(LinkType::record), record.encode(), descriptors); !sent) return sent;
  }
  return link_.send(wire(LinkType::start), {});
}

void Keeper::read_link() {
  auto frame = link_.receive();
  if (!frame) {
    link_.close();  // the server is going; SIGCHLD tells when it is gone
    return;
  }
  switch (static_cast<LinkType>(frame->type)) {
    case LinkType::ready:
      server_was_ready_ = true;
      log("server " + std::to_string(server_) + " is ready");
      tell_starter("+");
      break;
    case LinkType::failed:
      failure_ = frame->payload;
      break;
    case LinkType::put: {
      auto record = Record::decode(std::move(*frame));
      answer(record ? table_.put(std::move(*record)) : Result<void>{fail(record.error())});
      break;
    }
    case LinkType::remove:
      answer(table_.remove(frame->payload));
      break;
    case LinkType::transport:
      start_transport(frame->payload);
      break;
    case LinkType::stopping:
      if (frame->payload.size() == 1 && frame->payload[0] <= static_cast<char>(Ending::upgrade)) {
        ending_ = static_cast<Ending>(frame->payload[0]);
      }
      break;
    case LinkType::listener:
    case LinkType::record:
    case LinkType::start:
    case LinkType::done:
      log("the server sent a message that is the keeper's to send");
      break;
  }
}

void Keeper::answer(const Result<void>& outcome) {
  const std::string text = outcome ? std::string{} : to_string(outcome.error());
  if (auto sent = link_.send(wire(LinkType::done), text); !sent) link_.close();
}

/// It runs outside of the server's namespaces, with what the user's files say of the remote: the server, which guests
/// talk to, names one of them and has no say in what is in there.
void Keeper::start_transport(const std::string& remote) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == '-';
  };
  if (remote.empty() || remote.size() > 64 || remote.front() == '.' || remote.front() == '-' ||
      !std::ranges::all_of(remote, plain))
    return answer(fail(Errc::invalid_argument, "no name of a remote"));
  if (transports_.size() >= kMostTransports) return answer(fail(Errc::busy, "too many remotes are in use"));
  auto ends = protocol::make_socket_pair();
  if (!ends) return answer(fail(ends.error()));
  const auto started = start_process(setup_.programs / "stellarium-transport", {"3", "--remote=" + remote},
                                     ends->second.get(), log_.get(), oom_score_adj_);
  if (!started) return answer(fail(started.error()));
  transports_.push_back(*started);
  const int socket = ends->first.get();
  if (auto sent = link_.send(wire(LinkType::done), {}, {&socket, 1}); !sent) link_.close();
}

void Keeper::on_signals() {
  signalfd_siginfo signal{};
  while (::read(signals_.get(), &signal, sizeof signal) == sizeof signal) {
    if (signal.ssi_signo == SIGCHLD) continue;  // several exits may share one signal: see below
    stop_requested_ = true;
    if (server_ == 0) exit_code_ = 0;
    if (server_ != 0) ::kill(server_, SIGTERM);
  }
  int status = 0;
  std::erase_if(transports_, [&](pid_t transport) { return ::waitpid(transport, &status, WNOHANG) == transport; });
  if (server_ != 0 && ::waitpid(server_, &status, WNOHANG) == server_) on_server_exit(status);
}

void Keeper::on_server_exit(int wait_status) {
  // What it still said before it died lies in the socket.
  while (link_ && link_.readable(0).value_or(false)) read_link();
  link_.close();
  log("server " + std::to_string(server_) + " ended: " + describe_exit(wait_status) +
      (failure_.empty() ? "" : "; it said: " + failure_));
  // SIGKILL comes from outside (a person, the memory killer): a server that was ready and got it has not shown that it
  // cannot live.
  const bool from_outside = server_was_ready_ && WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGKILL;
  const bool quick = !from_outside && Clock::now() - server_started_ < kQuickDeath;
  server_ = 0;
  if (namespace_) namespace_->end();
  if (stop_requested_ || ending_ == Ending::stop) {
    exit_code_ = 0;
    return;
  }
  if (ending_ == Ending::upgrade) become_next_keeper();
  if (ending_) {
    quick_deaths_ = 0;
    next_start_ = Clock::now();
    return;
  }
  if (setup_.starter) {  // the very first one
    tell_starter("-" +
                 (failure_.empty() ? "the server ended before it was ready: " + describe_exit(wait_status) : failure_));
    exit_code_ = 1;
    return;
  }
  quick_deaths_ = quick ? quick_deaths_ + 1 : 0;
  if (quick_deaths_ >= kPatience && table_.records().empty()) {
    log("giving up: the server died " + std::to_string(quick_deaths_) +
        " times in a row, and there is no mount to keep");
    exit_code_ = 1;
    return;
  }
  // The first death is answered at once; programs are waiting in the mounts.
  const auto pause = quick_deaths_ <= 1
                         ? 0ms
                         : std::min<Clock::duration>(kFirstPause * (1u << std::min(quick_deaths_, 10u)), kLongestPause);
  next_start_ = Clock::now() + pause;
}

void Keeper::report_stuck_server() {
  if (server_ == 0 || stuck_reported_ == server_) return;
  const std::string stuck = describe_stuck(server_);
  if (stuck.empty()) return;
  stuck_reported_ = server_;
  log("server " + std::to_string(server_) + " was killed but cannot die: " + stuck +
      "; the next one starts when it is gone");
}

void Keeper::tell_starter(std::string_view message) {
  if (!setup_.starter) return;
  [[maybe_unused]] const auto written =
      ::write(setup_.starter.get(), message.data(), message.size());  // it may have gone
  setup_.starter.reset();
}

void Keeper::become_next_keeper() {
  auto table = table_.bequeath({listener_.get(), lock_.get()});
  if (!table) {
    log("cannot hand over to a new keeper, going on with this one: " + to_string(table.error()));
    return;
  }
  const std::string program = (setup_.programs / "stellarium-keeper").string();
  const std::string number = std::to_string(*table);
  ::execl(program.c_str(), program.c_str(), "--store", setup_.store.c_str(), "--inherit", number.c_str(),
          "--oom-score-adj", oom_score_adj_.c_str(), static_cast<char*>(nullptr));
  log("cannot run " + program + ", going on with this keeper");
}

void Keeper::log(const std::string& line) const {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::localtime_r(&now, &parts);
  std::array<char, 32> stamp{};
  std::strftime(stamp.data(), stamp.size(), "%Y-%m-%d %H:%M:%S", &parts);
  ::dprintf(log_.get(), "[%s] [keeper] %s\n", stamp.data(), line.c_str());
}

}  // namespace stellarium::keeper
