#include "fs/image_name.h"

#include <algorithm>

namespace stellarium::fs {
namespace {

constexpr std::size_t kMaxPart = 128;

Result<void> check_part(std::string_view part, const char* what) {
  if (part.empty()) return fail(Errc::invalid_argument, std::string{"the "} + what + " is empty");
  if (part.size() > kMaxPart) return fail(Errc::invalid_argument, std::string{"the "} + what + " is over 128 bytes");
  if (part.front() == '.' || part.front() == '-') {
    return fail(Errc::invalid_argument, std::string{"the "} + what + " begins with '" + part.front() + "'");
  }
  const auto allowed = [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == '-';
  };
  if (!std::ranges::all_of(part, allowed)) {
    return fail(Errc::invalid_argument, std::string{"the "} + what + " has other characters than A-Z a-z 0-9 . _ -");
  }
  return {};
}

}  // namespace

Result<ImageName> ImageName::parse(std::string_view text) {
  ImageName parsed;
  const std::size_t colon = text.find(':');
  parsed.name = text.substr(0, colon);
  if (colon != std::string_view::npos) parsed.tag = text.substr(colon + 1);
  // Quoted and cut, so that whatever was given makes one readable line.
  std::string shown{text.substr(0, 64)};
  std::ranges::replace_if(
      shown, [](char c) { return c < ' ' || c > '~'; }, '?');
  if (Result<void> checked = check_part(parsed.name, "name"); !checked)
    return fail(checked.error(), "image \"" + shown + "\"");
  if (Result<void> checked = check_part(parsed.tag, "tag"); !checked)
    return fail(checked.error(), "image \"" + shown + "\"");
  return parsed;
}

}  // namespace stellarium::fs
