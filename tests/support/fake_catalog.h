#pragma once
#include <algorithm>
#include <mutex>
#include <vector>

#include "fs/catalog.h"

namespace stellarium::test {

/// Names in memory.
class FakeCatalog final : public fs::Catalog {
 public:
  Result<NewLayer> begin_layer() override { return fail(Errc::not_supported, "fake"); }
  Result<std::vector<NewLayer>> add_layers(std::size_t, const PutLayer&) override {
    return fail(Errc::not_supported, "fake");
  }
  Result<NewLayer> add_layer(const PutLayer&) override { return fail(Errc::not_supported, "fake"); }
  Result<NewLayer> extend_layer(const MakeLayer&) override { return fail(Errc::not_supported, "fake"); }
  Result<void> change_clones(const ChangeClones&) override { return fail(Errc::not_supported, "fake"); }
  Result<void> while_layers_stay(const std::function<Result<void>()>& work) override { return work(); }
  Result<void> publish(const fs::Image& image, const cas::Hash& /*fingerprint*/) override {
    const std::lock_guard lock{mutex_};
    std::erase_if(images_, [&image](const fs::Image& other) { return other.name == image.name; });
    images_.push_back(image);
    std::ranges::sort(images_, {}, &fs::Image::name);
    return {};
  }
  Result<std::optional<SealedLayer>> find_sealed(const cas::Hash& /*fingerprint*/) override {
    return std::optional<SealedLayer>{};
  }
  Result<fs::Image> find(const fs::ImageName& name) const override {
    const std::lock_guard lock{mutex_};
    const auto found = std::ranges::find(images_, name, &fs::Image::name);
    if (found == images_.end()) return fail(Errc::not_found, "no image " + name.text());
    return *found;
  }
  Result<std::vector<fs::Image>> list() const override {
    const std::lock_guard lock{mutex_};
    return images_;
  }
  Result<void> rename(const fs::ImageName&, const fs::ImageName&) override { return {}; }
  Result<void> remove_all(const std::vector<fs::ImageName>& names, const ChangeClones&) override {
    const std::lock_guard lock{mutex_};
    std::erase_if(images_, [&names](const fs::Image& image) { return std::ranges::count(names, image.name) != 0; });
    return {};
  }
  Result<std::vector<Event>> history(const fs::ImageName&) const override { return std::vector<Event>{}; }
  std::shared_ptr<LayerPin> pin(fs::LayerId) override { return std::make_shared<LayerPin>(); }
  Result<std::uint64_t> sweep(const Sweeping&) override { return 0; }
  std::vector<fs::LayerId> foldable() const override { return {}; }
  Result<bool> fold(fs::LayerId, const FoldLayers&) override { return false; }
  Chores chores() const override { return {}; }
  cas::ContentStore::LiveContents live_contents() const override { return {}; }

 private:
  mutable std::mutex mutex_;
  std::vector<fs::Image> images_;
};

}  // namespace stellarium::test
