// Headers of answers from servers that nobody vouches for. The first line of the input says what was asked for:
// "OFFSET SIZE HAVE TOTAL LIMIT", a dash where there is none; the others are the answer.
#include <cstdlib>
#include <sstream>
#include <string>

#include "base/bytes.h"
#include "cdn/http/response_check.h"

using namespace stellarium;
using namespace stellarium::cdn::http;

namespace {

void expect(bool holds) {
  if (!holds) std::abort();
}

std::optional<std::uint64_t> number(std::istream& in) {
  std::string word;
  in >> word;
  const auto value = parse_length(word);
  return value && *value < std::uint64_t{1} << 62 ? value : std::nullopt;
}

/// A range that is accepted is what a server would write, but for zeros in front.
void check_range(std::string_view value) {
  const auto range = parse_content_range(value);
  if (!range) return;
  expect(range->first <= range->last && range->size() > 0);
  const std::string total = range->total ? std::to_string(*range->total) : "*";
  expect(parse_content_range("bytes " + std::to_string(range->first) + "-" + std::to_string(range->last) + "/" +
                             total) == range);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::istringstream in{std::string{as_text(std::as_bytes(std::span{data, size}))}};
  std::string line;
  std::getline(in, line);
  std::istringstream words{line};
  Asked asked;
  asked.offset = number(words).value_or(0);
  asked.size = number(words);
  asked.have = number(words).value_or(0);
  asked.total = number(words);
  asked.limit = number(words).value_or(1000);
  if (asked.size == 0u || asked.have >= asked.size.value_or(asked.limit + 1)) return 0;  // it would not be asked for

  AnswerHead head;
  while (std::getline(in, line)) {
    check_range(line);
    (void)parse_status_line(line);
    if (const auto pause = parse_retry_after(line, 784'111'777)) expect(*pause <= 366 * 86'400);
    if (!head.add(line, 784'111'777)) return 0;
  }
  const Judgement judged = judge(head, asked);
  expect(judged.meaning != Judgement::Meaning::none);
  expect(judged.text.find('\n') == std::string::npos);
  if (judged.meaning != Judgement::Meaning::body) return 0;
  // Whatever it said, what is kept is what was asked for and no more.
  const std::uint64_t start = judged.from_start ? 0 : asked.have;
  expect(!judged.from_start || asked.offset == 0);
  if (asked.size) expect(judged.size && start + *judged.size == *asked.size);
  if (!asked.size && judged.size) expect(start + *judged.size <= asked.limit);
  return 0;
}
