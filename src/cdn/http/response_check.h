#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "cdn/http/answer_head.h"

namespace stellarium::cdn::http {

/// What one request asks for: the bytes of an object from `offset` on, of which the first `have` are there already.
struct Asked {
  std::uint64_t offset = 0;
  std::optional<std::uint64_t> size;  ///< nothing: all to the end
  std::uint64_t limit = 0;            ///< of all bytes from `offset` on, where no size is given
  std::uint64_t have = 0;
  std::optional<std::uint64_t> total;  ///< of the object, as the answer said that brought what is there

  std::uint64_t first() const { return offset + have; }
  bool whole() const { return offset == 0 && !size && have == 0; }  ///< so a plain request is enough
  std::string range() const;                                        ///< "FIRST-LAST" or "FIRST-"
};

/// What an answer's header means for who asked.
struct Judgement {
  enum class Meaning : std::uint8_t {
    none,      ///< nothing yet
    body,      ///< what was asked for follows
    redirect,  ///< somewhere else
    not_found,
    permission,  ///< the credentials were not enough
    busy,        ///< not now: 5xx, 429, 408
    too_large,   ///< than the limit
    changed,     ///< it has an object of another size than before
    wrong,       ///< no answer to what was asked; asking again would bring the same
  };
  Meaning meaning = Meaning::none;
  std::string text;                          ///< for a person: what the origin did ("answers 503")
  bool from_start = false;                   ///< `body`: the object from its first byte, whatever `have` is
  std::optional<std::uint64_t> size;         ///< of the body, where it is known
  std::optional<std::uint64_t> total;        ///< of the object, where it is known
  std::optional<std::uint64_t> retry_after;  ///< seconds
};

Judgement judge(const AnswerHead& head, const Asked& asked);

}  // namespace stellarium::cdn::http
