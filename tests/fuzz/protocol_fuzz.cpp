// Every message that command, server and keeper take from one another; what decodes must encode to something that
// decodes to the same.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "tools/keeper/link.h"
#include "tools/protocol/message.h"

namespace {

template <typename Message>
void check(const std::string& payload) {
  const auto message = Message::decode(payload);
  if (!message) return;
  const std::string again = message->encode();
  const auto reread = Message::decode(again);
  if (!reread || reread->encode() != again) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace stellarium;
  const std::string payload{reinterpret_cast<const char*>(data), size};
  check<protocol::Hello>(payload);
  check<protocol::Welcome>(payload);
  check<protocol::Request>(payload);
  check<protocol::Progress>(payload);
  check<protocol::ContentList>(payload);
  check<protocol::ContentQuestion>(payload);
  check<protocol::ContentAnswer>(payload);
  protocol::Frame frame;
  frame.payload = payload;
  (void)keeper::Record::decode(std::move(frame));
  return 0;
}
