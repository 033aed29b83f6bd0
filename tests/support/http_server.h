#pragma once
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/unique_fd.h"

namespace stellarium::test {

/// A port of this host on which nobody listens, and nobody else will while it lives.
class DeadPort {
 public:
  explicit DeadPort(bool listening = false) : socket_{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)} {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const any = reinterpret_cast<sockaddr*>(&address);
    if (!socket_ || ::bind(socket_.get(), any, size) != 0 || (listening && ::listen(socket_.get(), 128) != 0) ||
        ::getsockname(socket_.get(), any, &size) != 0)
      throw std::runtime_error("no port on the loopback interface");
    port_ = ntohs(address.sin_port);
  }
  int descriptor() const { return socket_.get(); }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }

 private:
  UniqueFd socket_;
  unsigned port_ = 0;
};

/// A web server whose answers a test writes out byte for byte, so that they can be as wrong as they like.
///
/// Threads: one for each connection; the script runs on them.
class HttpServer {
 public:
  struct Request {
    std::string path;
    std::map<std::string, std::string> fields;  ///< names in lower case
    std::chrono::steady_clock::time_point at;

    std::string field(const std::string& name) const {
      const auto found = fields.find(name);
      return found == fields.end() ? std::string{} : found->second;
    }
  };

  /// The way back to who asked.
  class Answer {
   public:
    Answer(int socket, int ending) : socket_{socket}, ending_{ending} {}
    void send(std::string_view bytes) {
      while (!bytes.empty() && !gone_) {
        const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        gone_ = sent <= 0;
        if (!gone_) bytes.remove_prefix(static_cast<std::size_t>(sent));
      }
    }
    void send(int status, const std::string& fields, std::string_view body) {
      send("HTTP/1.1 " + std::to_string(status) + " .\r\n" + fields + "Content-Length: " + std::to_string(body.size()) +
           "\r\n\r\n");
      send(body);
    }
    /// False: nobody is there any more, or the server ends.
    bool pause(std::chrono::milliseconds time) {
      pollfd both[]{{socket_, POLLRDHUP, 0}, {ending_, POLLIN, 0}};
      gone_ = gone_ || ::poll(both, 2, static_cast<int>(time.count())) != 0;
      return !gone_;
    }
    void hang() {
      while (pause(std::chrono::seconds{10})) continue;
    }
    void close() { gone_ = true; }
    bool gone() const { return gone_; }

   private:
    int socket_, ending_;
    bool gone_ = false;
  };
  using Script = std::function<void(const Request&, Answer&)>;

  explicit HttpServer(Script script) : script_{std::move(script)} {
    int ends[2];
    if (::pipe(ends) != 0) throw std::runtime_error("no pipe");
    ending_ = UniqueFd{ends[0]};
    end_ = UniqueFd{ends[1]};
    acceptor_ = std::thread{[this] { accept_all(); }};
  }
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;
  ~HttpServer() {
    end_.reset();
    acceptor_.join();
    for (std::thread& thread : connections_) thread.join();
  }

  std::string url() const { return port_.url(); }
  std::vector<Request> requests() const {
    const std::lock_guard lock{mutex_};
    return requests_;
  }

 private:
  void accept_all() {
    for (;;) {
      pollfd both[]{{port_.descriptor(), POLLIN, 0}, {ending_.get(), POLLIN, 0}};
      ::poll(both, 2, -1);
      if (both[1].revents != 0) return;
      UniqueFd socket{::accept4(port_.descriptor(), nullptr, nullptr, SOCK_CLOEXEC)};
      if (socket)
        connections_.emplace_back([this, held = std::make_shared<UniqueFd>(std::move(socket))] { serve(held->get()); });
    }
  }

  void serve(int socket) {
    const int yes = 1;  // else the second piece of an answer waits 40 ms for the first one's acknowledgement
    (void)::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    Answer answer{socket, ending_.get()};
    std::string buffer;
    while (!answer.gone()) {
      std::size_t end = buffer.find("\r\n\r\n");
      if (end == std::string::npos) {
        pollfd both[]{{socket, POLLIN, 0}, {ending_.get(), POLLIN, 0}};
        ::poll(both, 2, -1);
        char bytes[4096];
        const ssize_t got = both[1].revents != 0 ? 0 : ::recv(socket, bytes, sizeof bytes, 0);
        if (got <= 0) return;
        buffer.append(bytes, static_cast<std::size_t>(got));
        continue;
      }
      const Request request = parse(std::string_view{buffer}.substr(0, end + 2));
      buffer.erase(0, end + 4);
      {
        const std::lock_guard lock{mutex_};
        requests_.push_back(request);
      }
      script_(request, answer);
    }
  }

  static Request parse(std::string_view head) {
    Request request;
    request.at = std::chrono::steady_clock::now();
    for (bool first = true; !head.empty(); first = false) {
      const std::string_view line = head.substr(0, head.find("\r\n"));
      head.remove_prefix(line.size() + 2);
      if (first) {
        const std::string_view rest = line.substr(line.find(' ') + 1);
        request.path = rest.substr(0, rest.find(' '));
      } else if (const std::size_t colon = line.find(": "); colon != std::string_view::npos) {
        std::string name{line.substr(0, colon)};
        std::ranges::transform(name, name.begin(),
                               [](unsigned char byte) { return static_cast<char>(std::tolower(byte)); });
        request.fields[name] = line.substr(colon + 2);
      }
    }
    return request;
  }

  const Script script_;
  DeadPort port_{/*listening=*/true};
  UniqueFd ending_, end_;
  mutable std::mutex mutex_;
  std::vector<Request> requests_;
  std::vector<std::thread> connections_;  // the acceptor's alone, until it has ended
  std::thread acceptor_;
};

/// The bytes that "Range: bytes=FIRST-LAST" or "FIRST-" asks for: first and size.
inline std::pair<std::size_t, std::size_t> asked_range(const HttpServer::Request& request, std::size_t size) {
  const std::string range = request.field("range");
  if (range.empty()) return {0, size};
  std::size_t first = 0, last = size - 1;
  const char* const end = range.data() + range.size();
  const char* at = std::from_chars(range.data() + std::string_view{"bytes="}.size(), end, first).ptr;
  std::from_chars(std::min(at + 1, end), end, last);
  return {first, last - first + 1};
}

/// The head of a right answer to a range.
inline std::string part_head(std::size_t first, std::size_t size, std::size_t total) {
  return "HTTP/1.1 206 Partial Content\r\nContent-Length: " + std::to_string(size) + "\r\nContent-Range: bytes " +
         std::to_string(first) + "-" + std::to_string(first + size - 1) + "/" + std::to_string(total) + "\r\n\r\n";
}

/// What a good server does: `object` at every path, in ranges.
inline void serve_object(const std::string& object, const HttpServer::Request& request, HttpServer::Answer& answer) {
  if (request.field("range").empty()) return answer.send(200, "", object);
  const auto [first, size] = asked_range(request, object.size());
  if (first >= object.size()) return answer.send(416, "", "");
  const std::size_t there = std::min(size, object.size() - first);
  answer.send(part_head(first, there, object.size()));
  answer.send(std::string_view{object}.substr(first, there));
}

}  // namespace stellarium::test
