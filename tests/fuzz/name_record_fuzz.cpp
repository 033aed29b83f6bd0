// Name records that nobody vouches for: what is accepted is text in the one form, signed by the key that it names, so a
// record with any other byte is refused.
#include <cstdlib>
#include <string>

#include "cdn/name_record.h"

using namespace stellarium::cdn;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string text{reinterpret_cast<const char*>(data), size};
  const auto record = parse_name(text);
  if (!record) return 0;
  (void)check_name(*record, "example", "debian:12", {3, {}}, 1500);
  for (std::size_t at = 0; at < text.size(); at += 7) {
    text[at] = static_cast<char>(text[at] ^ 1);
    if (parse_name(text)) std::abort();
    text[at] = static_cast<char>(text[at] ^ 1);
  }
  return 0;
}
