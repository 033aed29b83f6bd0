#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "cdn/http/address.h"
#include "cdn/http/answer_head.h"
#include "cdn/http/curl_handles.h"
#include "cdn/http/options.h"
#include "cdn/http/response_check.h"
#include "cdn/http/secrets.h"

namespace stellarium::cdn::http {

/// One request to one origin, with the redirects that it leads to, and what of the body arrives.
///
/// Redirects are followed here and not by libcurl, which would show the client's certificate to whoever is at their end
/// and look other hosts up in the netrc file.
/// Life:    made, its handle given to a multi handle; when that says it is done and the handle was taken out again,
///          `end`; and if it is a redirect, `follow` and once more.
/// Threads: one at a time.
class Transfer {
 public:
  struct Request {
    std::string path;
    Asked asked;
    bool no_cache = false;
    bool new_connection = false;   ///< the ones that are there may be dead
    bool share_connection = true;  ///< wait for one that is being made: HTTP/2 carries many requests
  };
  static constexpr unsigned kMostRedirects = 5;

  /// `options`, `secrets` and `origin` outlive it. Errors: not_supported (a libcurl without what this needs).
  static Result<std::unique_ptr<Transfer>> create(const Options& options, const Secrets& secrets, const Origin& origin,
                                                  unsigned origin_number, Request request, Clock::time_point now);
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  CURL* handle() const { return easy_.get(); }
  unsigned origin() const { return origin_number_; }

  struct End {
    enum class How : std::uint8_t {
      delivered,
      judged,  ///< `meaning` says what the answer was
      cut,     ///< a body that ended early; what there is of it is right as far as it goes
      timed_out,
      unreachable,  ///< no connection, or it broke before there was an answer
      untrusted,    ///< the certificate, or a file of ours
    } how;
    Judgement::Meaning meaning;
    std::string text;  ///< for a person, after the origin's name
  };
  End end(CURLcode code);
  End give_up_slow() const;
  std::string text_when_late() const;  ///< how far it was when the request's time was over
  /// Aims the handle at where the answer leads. Errors: invalid_argument (it leads nowhere that one may go).
  [[nodiscard]] Result<void> follow(Clock::time_point now);

  const Judgement& judgement() const { return judgement_; }
  std::uint64_t start() const {
    return judgement_.from_start ? 0 : request_.asked.have;
  }  ///< of `part`, in the request
  std::string& part() { return part_; }
  std::uint64_t received() const { return received_; }  ///< bytes of bodies, used or not

  /// Since when there was no sign of life.
  Clock::time_point silent_since() const { return last_byte_; }
  /// How long the answer took to begin; nothing: it has not yet, or was asked for before.
  std::optional<Clock::duration> take_wait();
  /// Whether it is below Options::slowest since the last window's end, or has no connection in time.
  bool too_slow(Clock::time_point now);
  Clock::time_point next_look() const;
  /// Whether the origin's connection carries several requests at once; nothing: this does not show it.
  std::optional<bool> multiplexed() const;
  /// Whether the answer was one of a server in trouble.
  bool refused() const { return head_.status() >= 500 || head_.status() == 429; }

 private:
  Transfer(const Options& options, const Secrets& secrets, const Origin& origin, unsigned number, Request request)
      : options_{options}, secrets_{secrets}, origin_{origin}, origin_number_{number}, request_{std::move(request)} {}
  CURLcode configure(const std::string& url, const Address& address);
  CURLcode configure_trust(bool own);
  void begin(Clock::time_point now);
  std::size_t take_header(std::string_view line);
  std::size_t take_body(std::string_view bytes);
  bool refuse(Judgement::Meaning meaning, std::string text);
  std::string curl_text(CURLcode code) const;
  bool connected() const;

  const Options& options_;
  const Secrets& secrets_;
  const Origin& origin_;
  const unsigned origin_number_;
  const Request request_;
  CurlList headers_;
  char error_[CURL_ERROR_SIZE] = {};
  Address address_;  // who is asked now
  unsigned redirects_ = 0;
  AnswerHead head_;
  Judgement judgement_;
  std::string part_;
  std::uint64_t received_ = 0, ignored_ = 0;
  Clock::time_point started_, last_byte_, window_;
  std::uint64_t window_bytes_ = 0;
  bool looked_at_connection_ = false;
  std::optional<Clock::duration> wait_;
  CurlEasy easy_;  // last: it knows the others
};

}  // namespace stellarium::cdn::http
