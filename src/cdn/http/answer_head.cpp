#include "cdn/http/answer_head.h"

#include <algorithm>

namespace stellarium::cdn::http {
namespace {

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r\n";
  const std::size_t begin = text.find_first_not_of(kBlank);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlank) - begin + 1);
}

/// `right` is in lower case.
bool same(std::string_view left, std::string_view right) {
  return std::ranges::equal(left, right, {}, lower_case);
}

/// Keeps what a field says; false if it says nothing that can be, or was there before and said something else.
template <typename T>
bool keep(std::optional<T>& kept, const std::optional<T>& said) {
  if (!said || (kept && *kept != *said)) return false;
  kept = said;
  return true;
}

}  // namespace

bool AnswerHead::add(std::string_view line, std::int64_t now) {
  bytes_ += line.size();
  if (bytes_ > kMostBytes) return false;
  line = trimmed(line);
  if (line.starts_with("HTTP/")) {
    const std::size_t bytes = bytes_;
    *this = {};
    bytes_ = bytes;
    line_ = parse_status_line(line).value_or(StatusLine{});
  } else if (const std::size_t colon = line.find(':'); colon != std::string_view::npos) {
    add_field(line.substr(0, colon), trimmed(line.substr(colon + 1)), now);
  }
  return true;
}

void AnswerHead::add_field(std::string_view name, std::string_view value, std::int64_t now) {
  if (same(name, "content-range")) {
    if (!keep(range_, parse_content_range(value))) malformed_ = true;
  } else if (same(name, "content-length")) {
    if (!keep(length_, parse_length(value))) malformed_ = true;
  } else if (same(name, "retry-after")) {
    retry_after_ = parse_retry_after(value, now);  // a pause that is not understood is none
  } else if (same(name, "content-encoding")) {
    encoded_ = encoded_ || !same(value, "identity");
  } else if (same(name, "transfer-encoding")) {
    chunked_ = same(value, "chunked");
    encoded_ = encoded_ || !chunked_;
  }
}

}  // namespace stellarium::cdn::http
