#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

// Values of HTTP header fields, from origins that nobody vouches for. What is not exactly as RFC 9110 says is nothing.
namespace stellarium::cdn::http {

/// Of ASCII alone, whatever the locale.
constexpr char lower_case(char byte) {
  return byte >= 'A' && byte <= 'Z' ? static_cast<char>(byte + ('a' - 'A')) : byte;
}

/// "bytes FIRST-LAST/TOTAL", or "*" for the total. FIRST ≤ LAST, and LAST < TOTAL where that is known.
struct ContentRange {
  std::uint64_t first = 0, last = 0;
  std::optional<std::uint64_t> total;

  std::uint64_t size() const { return last - first + 1; }
  bool operator==(const ContentRange&) const = default;
};
std::optional<ContentRange> parse_content_range(std::string_view value);

/// Digits only, below 2^63.
std::optional<std::uint64_t> parse_length(std::string_view value);

/// Seconds from `now` (of 1970): a number, at most a year, or a date ("Sun, 06 Nov 1994 08:49:37 GMT"; 0 if it is
/// past).
std::optional<std::uint64_t> parse_retry_after(std::string_view value, std::int64_t now);

/// "HTTP/1.1 206 Partial Content" or "HTTP/2 206 ": 100 … 599.
struct StatusLine {
  unsigned major = 0, status = 0;
};
std::optional<StatusLine> parse_status_line(std::string_view line);

}  // namespace stellarium::cdn::http
