#include "cdn/oci/digest.h"

#include <algorithm>

namespace stellarium::cdn::oci {
namespace {

constexpr std::string_view kSha256 = "sha256:";
constexpr std::string_view kLowerHex = "0123456789abcdef";

}  // namespace

std::optional<Digest> Digest::parse(std::string_view text) {
  if (!text.starts_with(kSha256)) return {};
  text.remove_prefix(kSha256.size());
  if (text.size() != 64 || text.find_first_not_of(kLowerHex) != std::string_view::npos) return {};
  return Digest{std::string{text}};
}

Digest Digest::of_bytes(std::string_view sha256) {
  std::string hex;
  for (const char c : sha256) {
    const auto byte = static_cast<unsigned char>(c);
    hex.push_back(kLowerHex[byte >> 4]);
    hex.push_back(kLowerHex[byte & 15]);
  }
  return Digest{std::move(hex)};
}

}  // namespace stellarium::cdn::oci
