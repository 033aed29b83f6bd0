// What a process that wants objects and stellarium-transport take from one another; what decodes must encode to
// something that decodes to the same.
#include <cstdlib>
#include <string>

#include "tools/transport/object_message.h"

using namespace stellarium::transport;

namespace {

template <typename Message>
void check(std::string_view payload) {
  const auto message = Message::decode(payload);
  if (!message) return;
  const std::string again = message->encode();
  const auto reread = Message::decode(again);
  if (!reread || reread->encode() != again) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view payload{reinterpret_cast<const char*>(data), size};
  check<Question>(payload);
  check<Answer>(payload);
  if (const auto piece = Data::decode(payload); piece && encode_data(piece->number, piece->bytes) != payload)
    std::abort();
  if (const auto listed = decode_listed(payload); listed && encode_listed(listed->first, listed->second) != payload)
    std::abort();
  return 0;
}
