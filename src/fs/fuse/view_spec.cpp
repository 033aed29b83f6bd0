#include <charconv>
#include <string>

#include "fs/fuse/fuse_server.h"

namespace stellarium::fs::fuse {
namespace {

// "store", "image TREE LAYER NAME:TAG", or "clone TREE LAYER NAME"; with "cached " in front where passthrough is off.
constexpr std::string_view kCached = "cached ";
constexpr std::string_view kStore = "store";
constexpr std::string_view kImage = "image ";
constexpr std::string_view kClone = "clone ";

template <typename T>
bool take_number(std::string_view& text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end == text.data() + text.size() || *end != ' ') return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()) + 1);
  return true;
}

}  // namespace

std::string ViewSpec::encode() const {
  const std::string how{passthrough ? "" : kCached};
  if (kind == Kind::store) return how + std::string{kStore};
  const bool of_clone = kind == Kind::clone;
  return how + std::string{of_clone ? kClone : kImage} + std::to_string(tree) + ' ' + std::to_string(layer) + ' ' +
         (of_clone ? clone : image.text());
}

Result<ViewSpec> ViewSpec::decode(std::string_view text) {
  ViewSpec spec;
  std::string_view rest = text;
  if (rest.starts_with(kCached)) {
    rest.remove_prefix(kCached.size());
    spec.passthrough = false;
  }
  if (rest == kStore) {
    spec.kind = Kind::store;
    return spec;
  }
  if (rest.starts_with(kImage)) {
    rest.remove_prefix(kImage.size());
    if (take_number(rest, spec.tree) && take_number(rest, spec.layer)) {
      Result<ImageName> name = ImageName::parse(rest);
      if (!name) return fail(name.error(), "reading what a mount shows");
      spec.image = std::move(*name);
      return spec;
    }
  }
  if (rest.starts_with(kClone)) {
    rest.remove_prefix(kClone.size());
    spec.kind = Kind::clone;
    if (take_number(rest, spec.tree) && take_number(rest, spec.layer)) {
      const Result<ImageName> name = ImageName::parse(rest);  // clones are named as images are, without a tag
      if (!name || name->name != rest) return fail(Errc::invalid_argument, "an impossible name of a clone");
      spec.clone = name->name;
      return spec;
    }
  }
  return fail(Errc::invalid_argument, "'" + std::string{text} + "' does not say what a mount shows");
}

}  // namespace stellarium::fs::fuse
