#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

#include "cdn/http/http_fields.h"

namespace stellarium::cdn::http {

/// What of an answer's header is of interest, gathered line by line; bounded, whatever arrives.
class AnswerHead {
 public:
  static constexpr std::size_t kMostBytes = 32u << 10;

  /// One line, with or without its end. A status line begins anew: an interim answer (1xx) stands before the real one.
  /// False: there was more than kMostBytes.
  [[nodiscard]] bool add(std::string_view line, std::int64_t now);

  unsigned status() const { return line_.status; }  ///< 0: none was understood
  const std::optional<ContentRange>& range() const { return range_; }
  const std::optional<std::uint64_t>& length() const { return length_; }
  const std::optional<std::uint64_t>& retry_after() const { return retry_after_; }  ///< seconds
  bool encoded() const { return encoded_; }      ///< the body is not the object itself
  bool malformed() const { return malformed_; }  ///< a range or a length that cannot be, or two different ones
  bool ends_itself() const { return chunked_ || length_ || line_.major >= 2; }  ///< so that a cut is noticed

 private:
  void add_field(std::string_view name, std::string_view value, std::int64_t now);

  std::size_t bytes_ = 0;
  StatusLine line_;
  std::optional<ContentRange> range_;
  std::optional<std::uint64_t> length_, retry_after_;
  bool encoded_ = false, malformed_ = false, chunked_ = false;
};

}  // namespace stellarium::cdn::http
