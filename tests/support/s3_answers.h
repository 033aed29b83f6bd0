#pragma once
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cstdlib>
#include <functional>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/unique_fd.h"

namespace stellarium::test {

/// A request as it arrived; names of headers in lower case, the query decoded.
struct S3Question {
  std::string method, path;
  std::map<std::string, std::string> query, headers;
  std::string body;

  bool asks(const std::string& name) const { return query.count(name) != 0; }
};

struct S3Answer {
  int status = 200;
  std::string body{};
  std::map<std::string, std::string> headers{};  ///< content-length is added where it is not there
  enum class Ending {
    whole,
    cut,      ///< half of the body, then the connection is closed
    closed,   ///< at once, without an answer
    silent,   ///< nothing is sent, and nothing closed
    endless,  ///< a body that goes on for as long as it is read
  } ending = Ending::whole;
};

/// A web server on loopback whose answers the test gives, one thread a connection; `answer` is called by one at a time.
class S3Answers {
 public:
  using Answer = std::function<S3Answer(const S3Question&)>;

  explicit S3Answers(Answer answer) : answer_{std::move(answer)} {
    ::setenv("no_proxy", "127.0.0.1", 1);  // a proxy of the machine's has no business here
    listener_ = UniqueFd{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), size) != 0 ||
        ::listen(listener_.get(), 64) != 0 ||
        ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0)
      throw std::runtime_error("no socket on loopback");
    host_ = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
    acceptor_ = std::thread{[this] { accept_all(); }};
  }
  S3Answers(const S3Answers&) = delete;
  S3Answers& operator=(const S3Answers&) = delete;
  ~S3Answers() {
    ending_ = true;
    ::shutdown(listener_.get(), SHUT_RDWR);
    acceptor_.join();
    for (Connection& each : connections_) ::shutdown(each.socket.get(), SHUT_RDWR);
    for (Connection& each : connections_) each.thread.join();
  }

  const std::string& host() const { return host_; }
  std::string endpoint() const { return "http://" + host_; }
  std::vector<S3Question> questions() {
    const std::lock_guard lock{mutex_};
    return questions_;
  }

 private:
  struct Connection {
    UniqueFd socket;
    std::thread thread;
  };

  void accept_all() {
    while (true) {
      UniqueFd socket{::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC)};
      if (!socket || ending_) return;
      const int one = 1;
      ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
      const int fd = socket.get();
      connections_.push_back({std::move(socket), std::thread{[this, fd] {
                                serve(fd);
                                ::shutdown(fd, SHUT_RDWR);  // closed when the server is
                              }}});
    }
  }

  void serve(int fd) {
    std::string unread;
    S3Question question;
    while (receive(fd, unread, question)) {
      S3Answer answer;
      {
        const std::lock_guard lock{mutex_};
        questions_.push_back(question);
        answer = answer_(question);
      }
      if (!send(fd, question, answer)) return;
    }
  }

  static bool more(int fd, std::string& unread) {
    char bytes[64 << 10];
    const ssize_t size = ::recv(fd, bytes, sizeof bytes, 0);
    if (size <= 0) return false;
    unread.append(bytes, static_cast<std::size_t>(size));
    return true;
  }

  static bool receive(int fd, std::string& unread, S3Question& question) {
    question = {};
    std::size_t end;
    while ((end = unread.find("\r\n\r\n")) == std::string::npos) {
      if (!more(fd, unread)) return false;
    }
    parse_head(unread.substr(0, end + 2), question);
    unread.erase(0, end + 4);
    if (question.headers.count("expect") != 0 && !put(fd, "HTTP/1.1 100 Continue\r\n\r\n")) return false;
    const std::size_t size = std::strtoull(question.headers["content-length"].c_str(), nullptr, 10);
    unread.reserve(size);
    while (unread.size() < size) {
      if (!more(fd, unread)) return false;
    }
    question.body = unread.substr(0, size);
    unread.erase(0, size);
    return true;
  }

  static void parse_head(const std::string& head, S3Question& question) {
    std::size_t at = head.find("\r\n");
    const std::string first = head.substr(0, at);
    const std::size_t target = first.find(' ') + 1, end = first.rfind(' ');
    question.method = first.substr(0, target - 1);
    const std::string address = first.substr(target, end - target);
    const std::size_t mark = address.find('?');
    question.path = decoded(address.substr(0, mark));
    if (mark != std::string::npos) parse_query(address.substr(mark + 1), question);
    for (at += 2; at < head.size();) {
      const std::size_t next = head.find("\r\n", at), colon = head.find(": ", at);
      if (colon < next) {
        std::string name = head.substr(at, colon - at);
        std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
        question.headers[name] = head.substr(colon + 2, next - colon - 2);
      }
      at = next + 2;
    }
  }

  static void parse_query(const std::string& text, S3Question& question) {
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = std::min(text.find('&', at), text.size()), equals = text.find('=', at);
      question.query[decoded(text.substr(at, equals - at))] = decoded(text.substr(equals + 1, end - equals - 1));
      at = end + 1;
    }
  }

  static std::string decoded(const std::string& text) {
    std::string plain;
    for (std::size_t at = 0; at < text.size(); ++at) {
      unsigned code = static_cast<unsigned char>(text[at]);
      if (text[at] == '%') {
        std::from_chars(text.data() + at + 1, text.data() + at + 3, code, 16);
        at += 2;
      }
      plain.push_back(static_cast<char>(code));
    }
    return plain;
  }

  static bool put(int fd, const std::string& bytes) {
    for (std::size_t at = 0; at < bytes.size();) {
      const ssize_t sent = ::send(fd, bytes.data() + at, bytes.size() - at, MSG_NOSIGNAL);
      if (sent <= 0) return false;
      at += static_cast<std::size_t>(sent);
    }
    return true;
  }

  /// Whether the connection goes on.
  bool send(int fd, const S3Question& question, const S3Answer& answer) const {
    using Ending = S3Answer::Ending;
    if (answer.ending == Ending::closed) return false;
    if (answer.ending == Ending::silent) {
      char byte;
      while (::recv(fd, &byte, 1, 0) > 0) {
      }
      return false;
    }
    std::string head = "HTTP/1.1 " + std::to_string(answer.status) + " Said\r\n";
    for (const auto& [name, value] : answer.headers) head += name + ": " + value + "\r\n";
    if (answer.ending == Ending::endless) {
      if (!put(fd, head + "transfer-encoding: chunked\r\n\r\n")) return false;
      const std::string chunk = "10000\r\n" + std::string(0x10000, 'x') + "\r\n";
      while (put(fd, chunk)) {
      }
      return false;
    }
    if (answer.headers.count("content-length") == 0 && answer.status != 204)
      head += "content-length: " + std::to_string(answer.body.size()) + "\r\n";
    head += "\r\n";
    if (question.method == "HEAD") return put(fd, head);
    const bool cut = answer.ending == Ending::cut;
    return put(fd, head + answer.body.substr(0, cut ? answer.body.size() / 2 : std::string::npos)) && !cut;
  }

  const Answer answer_;
  UniqueFd listener_;
  std::string host_;
  std::atomic<bool> ending_{false};
  std::thread acceptor_;
  std::vector<Connection> connections_;  // the acceptor's, then the destructor's
  std::mutex mutex_;
  std::vector<S3Question> questions_;
};

}  // namespace stellarium::test
