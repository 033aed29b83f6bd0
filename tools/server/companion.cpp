#include "tools/server/companion.h"

#include <ctime>
#include <set>

#include "fs/companion_name.h"

namespace stellarium::server {
namespace {

constexpr std::int64_t kYoung = 3600;  // seconds

}  // namespace

Result<std::optional<OpenImage>> open_companion(Store& store, const fs::Image& image) {
  const auto name = fs::companion_name(image.name, image.source);
  if (!name) return fail(name.error());
  if (!*name) return std::nullopt;
  auto opened = open_image(store, (*name)->text());
  if (opened) return std::move(*opened);
  if (opened.error().code == Errc::not_found) return std::nullopt;
  return fail(opened.error());
}

Result<std::vector<fs::ImageName>> companions_of(Store& store, const std::vector<fs::ImageName>& images) {
  std::vector<fs::ImageName> found;
  for (const fs::ImageName& name : images) {
    const auto image = store.catalog().find(name);
    if (!image) continue;  // whoever asks for it will be told
    const auto companion = fs::companion_name(name, image->source);
    if (!companion) return fail(companion.error());
    if (*companion && store.catalog().find(**companion)) found.push_back(**companion);
  }
  return found;
}

Result<void> rename_with_companion(Store& store, const fs::ImageName& from, const fs::ImageName& to) {
  fs::Catalog& catalog = store.catalog();
  const auto image = catalog.find(from);
  if (!image) return fail(image.error());
  const auto before = fs::companion_name(from, image->source), after = fs::companion_name(to, image->source);
  if (!before || !after) return fail(before ? after.error() : before.error());
  // First the image: if that fails nothing has changed, and a companion that stayed behind is found by nobody.
  if (auto renamed = catalog.rename(from, to); !renamed) return renamed;
  if (!*before || !catalog.find(**before)) return {};
  return catalog.rename(**before, **after);
}

Result<std::size_t> forget_lost_companions(Store& store) {
  const auto images = store.catalog().list();
  if (!images) return fail(images.error());
  std::set<fs::ImageName> wanted;
  for (const fs::Image& image : *images) {
    const auto companion = fs::companion_name(image.name, image.source);
    if (companion && *companion) wanted.insert(**companion);
  }
  std::vector<fs::ImageName> lost;
  for (const fs::Image& image : *images) {
    if (fs::is_companion(image.name) && !wanted.contains(image.name) &&
        image.created.seconds < static_cast<std::int64_t>(std::time(nullptr)) - kYoung)
      lost.push_back(image.name);
  }
  if (lost.empty()) return 0;
  if (auto removed = store.catalog().remove_all(lost, {}); !removed) return fail(removed.error());
  return lost.size();
}

}  // namespace stellarium::server
