#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "cdn/objects.h"

// What a process that wants objects of a remote and the one that speaks to the remote say to each other, frame by frame
// (docs/formats/protocol.md, "Transport"). Every `decode` takes bytes that nobody vouches for.
namespace stellarium::transport {

enum class ObjectType : std::uint16_t {
  fetch = 128,    ///< client → transport: Question
  size_of = 129,  ///< the same
  read = 130,
  write = 131,  ///< followed by `data`, as many bytes as its size says
  list = 132,
  remove = 133,
  counters = 134,
  data = 140,    ///< either way: number 8, then up to kMaxData bytes of the object
  listed = 141,  ///< transport → client: number 8, size 8, written 8, path
  answer = 142,  ///< transport → client, last of each question: Answer
};

inline std::uint16_t wire(ObjectType type) {
  return static_cast<std::uint16_t>(type);
}

inline constexpr std::size_t kMaxData = 60u << 10;      ///< bytes of an object in one frame
inline constexpr std::uint64_t kMaxObject = 80u << 20;  ///< bytes of one that is written or read at once

/// One request of ObjectReader or ObjectTarget, under a number that its answer has too.
struct Question {
  std::uint64_t number = 0;
  cdn::ObjectRequest request = {};  ///< `path` is a prefix for list
  bool replace = false;             ///< of write: Existing::replace; `size` is then the object's
  std::string encode() const;
  static Result<Question> decode(std::string_view payload);
};

struct Answer {
  std::uint64_t number = 0;
  std::optional<Error> error = {};
  bool found = false;       ///< size_of, read: the object is there
  std::uint64_t value = 0;  ///< size_of: its size; fetch and read: bytes that came as data
  cdn::ObjectReader::Counters counters = {};
  std::string encode() const;
  static Result<Answer> decode(std::string_view payload);
};

std::string encode_data(std::uint64_t number, std::string_view bytes);
struct Data {
  std::uint64_t number = 0;
  std::string_view bytes;  ///< of the payload
  static Result<Data> decode(std::string_view payload);
};

std::string encode_listed(std::uint64_t number, const cdn::ObjectTarget::Listed& listed);
Result<std::pair<std::uint64_t, cdn::ObjectTarget::Listed>> decode_listed(std::string_view payload);

}  // namespace stellarium::transport
