#include "cdn/http/http_fields.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>

namespace stellarium::cdn::http {
namespace {

constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 63;
constexpr std::uint64_t kYear = 366u * std::uint64_t{86'400};

bool is_digit(char byte) {
  return byte >= '0' && byte <= '9';
}

/// Takes `expected` from the front of `text`.
bool take(std::string_view& text, std::string_view expected) {
  if (!text.starts_with(expected)) return false;
  text.remove_prefix(expected.size());
  return true;
}

/// Takes the digits at the front of `text`, at least one.
std::optional<std::uint64_t> take_number(std::string_view& text) {
  std::uint64_t value = 0;
  if (text.empty() || !is_digit(text.front())) return std::nullopt;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || value >= kMostBytes) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return value;
}

/// Takes exactly `digits` digits.
std::optional<unsigned> take_digits(std::string_view& text, std::size_t digits) {
  if (text.size() < digits || !std::all_of(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(digits), is_digit))
    return std::nullopt;
  unsigned value = 0;
  for (const char digit : text.substr(0, digits)) value = value * 10 + static_cast<unsigned>(digit - '0');
  text.remove_prefix(digits);
  return value;
}

template <std::size_t n>
std::optional<unsigned> take_name(std::string_view& text, const std::array<std::string_view, n>& names) {
  for (unsigned at = 0; at < n; ++at)
    if (take(text, names[at])) return at;
  return std::nullopt;
}

/// Seconds since 1970 of a date in the one form that senders may use.
std::optional<std::int64_t> parse_date(std::string_view text) {
  static constexpr std::array<std::string_view, 7> kDays{"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"};
  static constexpr std::array<std::string_view, 12> kMonths{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                            "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  if (!take_name(text, kDays) || !take(text, ", ")) return std::nullopt;
  const auto day = take_digits(text, 2);
  if (!day || !take(text, " ")) return std::nullopt;
  const auto month = take_name(text, kMonths);
  if (!month || !take(text, " ")) return std::nullopt;
  const auto year = take_digits(text, 4);
  if (!year || !take(text, " ")) return std::nullopt;
  const auto hour = take_digits(text, 2);
  if (!hour || !take(text, ":")) return std::nullopt;
  const auto minute = take_digits(text, 2);
  if (!minute || !take(text, ":")) return std::nullopt;
  const auto second = take_digits(text, 2);
  if (!second || text != " GMT") return std::nullopt;

  namespace chrono = std::chrono;
  const chrono::year_month_day date{chrono::year{static_cast<int>(*year)}, chrono::month{*month + 1},
                                    chrono::day{*day}};
  if (!date.ok() || *hour > 23 || *minute > 59 || *second > 60) return std::nullopt;
  const auto since = chrono::sys_days{date}.time_since_epoch() + chrono::hours{*hour} + chrono::minutes{*minute} +
                     chrono::seconds{*second};
  return chrono::duration_cast<chrono::seconds>(since).count();
}

}  // namespace

std::optional<ContentRange> parse_content_range(std::string_view value) {
  if (!take(value, "bytes ")) return std::nullopt;
  const auto first = take_number(value);
  if (!first || !take(value, "-")) return std::nullopt;
  const auto last = take_number(value);
  if (!last || *last < *first || !take(value, "/")) return std::nullopt;
  if (value == "*") return ContentRange{*first, *last, std::nullopt};
  const auto total = take_number(value);
  if (!total || !value.empty() || *last >= *total) return std::nullopt;
  return ContentRange{*first, *last, *total};
}

std::optional<std::uint64_t> parse_length(std::string_view value) {
  const auto length = take_number(value);
  return value.empty() ? length : std::nullopt;
}

std::optional<std::uint64_t> parse_retry_after(std::string_view value, std::int64_t now) {
  if (const auto seconds = parse_length(value)) return std::min(*seconds, kYear);
  const auto date = parse_date(value);
  if (!date) return std::nullopt;
  return *date <= now ? 0 : std::min(static_cast<std::uint64_t>(*date) - static_cast<std::uint64_t>(now), kYear);
}

std::optional<StatusLine> parse_status_line(std::string_view line) {
  if (!take(line, "HTTP/")) return std::nullopt;
  const auto major = take_digits(line, 1);
  if (!major) return std::nullopt;
  if (take(line, ".") && !take_digits(line, 1)) return std::nullopt;
  if (!take(line, " ")) return std::nullopt;
  const auto status = take_digits(line, 3);
  if (!status || *status < 100 || *status > 599 || (!line.empty() && line.front() != ' ')) return std::nullopt;
  return StatusLine{*major, *status};
}

}  // namespace stellarium::cdn::http
