#include "tier/recipe_cache.h"

#include <string>

namespace stellarium::tier {

RecipeCache::MapPtr RecipeCache::find(const cas::ContentId& content) {
  const MutexLock lock{mutex_};
  const auto found = maps_.find(content);
  if (found == maps_.end()) return nullptr;
  found->second->touch();
  return found->second->value;
}

Result<RecipeCache::MapPtr> RecipeCache::get(const cas::ContentId& content, std::uint64_t size) {
  if (size == 0) return std::make_shared<const ContentMap>(cas::Recipe{content, 0, {}});
  if (size <= cas::kMaxChunk) return std::make_shared<const ContentMap>(cas::Recipe::of_single_chunk(content, size));
  if (MapPtr present = find(content)) return present;

  Result<cas::Recipe> recipe = store_.recipe(content, size);
  if (!recipe && recipe.error().code == Errc::not_found && remote_ != nullptr && remote_->any())
    recipe = remote_->recipe({content, size});
  if (!recipe) return fail(recipe.error());
  if (recipe->content != content || recipe->size != size) {
    return fail(Errc::corrupt, "recipe of content " + content.hex() + ": expected " + std::to_string(size) +
                                   " bytes, found " + std::to_string(recipe->size) + " bytes of content " +
                                   recipe->content.hex());
  }
  MapPtr map = std::make_shared<const ContentMap>(std::move(*recipe));
  const MutexLock lock{mutex_};
  const auto node = std::make_shared<Order::Node>(content, map, map->memory_bytes());
  if (!maps_.emplace(content, node).second) return map;  // another thread was faster
  order_.insert(node);
  while (order_.over_budget() && order_.count() > 1) {
    const auto victim = order_.evict_one();
    maps_.erase(victim->key);
  }
  return map;
}

}  // namespace stellarium::tier
