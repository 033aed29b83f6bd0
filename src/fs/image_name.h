#pragma once
#include <compare>
#include <string>
#include <string_view>

#include "base/result.h"

namespace stellarium::fs {

/// `NAME[:TAG]`, checked. Names and tags are 1 to 128 bytes of [A-Za-z0-9._-], not starting with '.' or '-'; the
/// default tag is "latest".
struct ImageName {
  std::string name, tag = "latest";
  auto operator<=>(const ImageName&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 misreads it
  std::string text() const { return name + ":" + tag; }
  static Result<ImageName> parse(std::string_view text);  ///< errors: invalid_argument, with the offending part
};

}  // namespace stellarium::fs
