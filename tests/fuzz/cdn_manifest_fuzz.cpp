// Manifests of published images that nobody vouches for: what is accepted keeps its meaning when it is written in the
// one form, and can be planned with.
#include <cstdlib>

#include "cdn/fetch_plan.h"
#include "cdn/manifest.h"

using namespace stellarium;
using namespace stellarium::cdn;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto manifest = parse_manifest({reinterpret_cast<const char*>(data), size});
  if (!manifest) return 0;
  const std::string text = encode_manifest(*manifest);
  if (parse_manifest(text) != *manifest) std::abort();

  std::uint64_t planned = 0;
  const auto ranges = plan_metadata(*manifest, [](const cas::ChunkId&) -> Result<bool> { return false; });
  if (!ranges) std::abort();
  for (const WantedRange& range : *ranges) planned += range.size();
  if (planned != manifest->metadata.size) std::abort();
  return 0;
}
