#include "fs/companion_name.h"

#include <algorithm>

namespace stellarium::fs {
namespace {

constexpr std::string_view kDigestMark = "@sha256:";
constexpr std::string_view kBehindTag = ".oci-";
constexpr std::size_t kDigestDigits = 64, kShortDigits = 16;
constexpr std::size_t kMostWhere = 900;  // of the 1,024 bytes that a text has in the journal

bool all_hex(std::string_view text) {
  return text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

}  // namespace

std::string source_with_digest(std::string_view where, std::string_view sha256_hex) {
  return std::string{where.substr(0, kMostWhere)} + std::string{kDigestMark} + std::string{sha256_hex};
}

Result<std::optional<ImageName>> companion_name(const ImageName& name, std::string_view source) {
  const std::size_t mark = source.rfind(kDigestMark);
  if (mark == std::string_view::npos) return std::nullopt;
  const std::string_view digits = source.substr(mark + kDigestMark.size());
  if (digits.size() != kDigestDigits || !all_hex(digits)) return std::nullopt;
  ImageName companion{name.name, name.tag + std::string{kBehindTag} + std::string{digits.substr(0, kShortDigits)}};
  if (const auto parsed = ImageName::parse(companion.text()); !parsed)
    return fail(Errc::invalid_argument,
                "the tag " + name.tag.substr(0, 40) + "… is too long for an image with a configuration");
  return companion;
}

bool is_companion(const ImageName& name) {
  const std::string_view tag = name.tag;
  if (tag.size() <= kBehindTag.size() + kShortDigits) return false;
  const std::string_view end = tag.substr(tag.size() - kBehindTag.size() - kShortDigits);
  return end.starts_with(kBehindTag) && all_hex(end.substr(kBehindTag.size()));
}

}  // namespace stellarium::fs
