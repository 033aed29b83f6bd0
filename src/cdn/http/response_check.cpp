#include "cdn/http/response_check.h"

#include <utility>

namespace stellarium::cdn::http {
namespace {

using Meaning = Judgement::Meaning;

Judgement with(Meaning meaning, std::string text) {
  Judgement judgement;
  judgement.meaning = meaning;
  judgement.text = std::move(text);
  return judgement;
}

Judgement wrong(std::string text) {
  return with(Meaning::wrong, std::move(text));
}

std::string words(std::uint64_t number) {
  return std::to_string(number);
}

Judgement too_large(std::uint64_t size, const Asked& asked) {
  return with(Meaning::too_large, "has " + words(size) + " bytes of it, more than the limit of " + words(asked.limit));
}

Judgement body(std::optional<std::uint64_t> size, std::optional<std::uint64_t> total) {
  Judgement judgement = with(Meaning::body, {});
  judgement.size = size;
  judgement.total = total;
  return judgement;
}

Judgement judge_part(const AnswerHead& head, const Asked& asked) {
  if (asked.whole()) return wrong("sends a part that nobody asked for");
  if (!head.range()) return wrong("sends a part and does not say which");
  const ContentRange& range = *head.range();
  if (head.length() && *head.length() != range.size()) return wrong("sends a part whose length contradicts its range");
  if (range.first != asked.first())
    return wrong("sends bytes from " + words(range.first) + ", not from " + words(asked.first()));
  if (asked.total && range.total && *asked.total != *range.total)
    return with(Meaning::changed, "has an object of another size now");
  if (asked.size) {
    if (range.last != asked.offset + *asked.size - 1)
      return wrong("sends bytes to " + words(range.last) + ", not to " + words(asked.offset + *asked.size - 1));
  } else {
    if (!range.total) return wrong("sends a part and not the object's size");
    if (range.last != *range.total - 1) return wrong("ends before the object does");
    if (*range.total - asked.offset > asked.limit) return too_large(*range.total - asked.offset, asked);
  }
  return body(range.size(), range.total);
}

Judgement judge_whole(const AnswerHead& head, const Asked& asked) {
  if (!head.ends_itself()) return wrong("does not say where the object ends");
  if (asked.whole()) {
    if (head.length() && *head.length() > asked.limit) return too_large(*head.length(), asked);
    return body(head.length(), head.length());
  }
  // A server without ranges: its answer will do if the object is no more than what was asked for.
  if (asked.offset != 0 || !head.length() || (asked.size && *head.length() != *asked.size))
    return wrong("sends the whole object instead of a range: it must be served by something that knows ranges");
  if (!asked.size && *head.length() > asked.limit) return too_large(*head.length(), asked);
  Judgement judgement = body(head.length(), head.length());
  judgement.from_start = true;
  return judgement;
}

}  // namespace

std::string Asked::range() const {
  return words(first()) + "-" + (size ? words(offset + *size - 1) : std::string{});
}

Judgement judge(const AnswerHead& head, const Asked& asked) {
  const unsigned status = head.status();
  const std::string answers = "answers " + words(status);
  switch (status) {
    case 0:
      return wrong("sends something that is no HTTP answer");
    case 301:
    case 302:
    case 303:
    case 307:
    case 308:
      return with(Meaning::redirect, answers);
    case 404:
    case 410:
      return with(Meaning::not_found, answers);
    case 401:
    case 403:
    case 407:
      return with(Meaning::permission, answers);
    case 416:
      return wrong("has an object that ends before byte " + words(asked.first()));
    case 200:
    case 206:
      if (head.malformed()) return wrong("sends a header that contradicts itself");
      if (head.encoded()) return wrong("sends an encoded body that nobody asked for");
      return status == 206 ? judge_part(head, asked) : judge_whole(head, asked);
    default:
      break;
  }
  if (status >= 500 || status == 429 || status == 408) {
    Judgement judgement = with(Meaning::busy, answers);
    judgement.retry_after = head.retry_after();
    return judgement;
  }
  return wrong(answers);
}

}  // namespace stellarium::cdn::http
