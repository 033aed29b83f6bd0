// JSON documents of OCI images, and layer recipes, that nobody vouches for: what is accepted keeps its meaning.
#include <cstdlib>

#include "cdn/oci/documents.h"
#include "cdn/oci/layer_recipe.h"

using namespace stellarium;
using namespace stellarium::cdn::oci;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text{reinterpret_cast<const char*>(data), size};
  if (const auto manifest = parse_manifest(text)) {
    const auto again = parse_manifest(make_manifest(*manifest));
    if (!again || again->layers.size() != manifest->layers.size()) std::abort();
    if (again->config.digest != manifest->config.digest) std::abort();
  }
  if (const auto index = parse_index(text); index && index->size() > kMaxIndexEntries) std::abort();
  if (const auto config = parse_config(text); config && config->diff_ids.size() > kMaxLayers) std::abort();
  (void)parse_docker_manifest(text);
  (void)check_layout_version(text);
  if (const auto recipe = LayerRecipe::decode(text)) {
    const auto again = LayerRecipe::decode(recipe->encode());
    if (!again || *again != *recipe) std::abort();
  }
  return 0;
}
