// Recipe pages that nobody vouches for. The input is cut into pages at the lengths that their headers ask for.
#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "cas/recipe.h"

using namespace stellarium;
using namespace stellarium::cas;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ByteSpan rest = std::as_bytes(std::span{data, size});
  std::vector<std::string> pages;
  while (!rest.empty()) {
    const auto header = parse_recipe_page_header(rest);
    const std::size_t length = header ? std::min<std::size_t>(rest.size(), 64 + 38 * header->entries) : rest.size();
    pages.emplace_back(as_text(rest.first(length)));
    rest = rest.subspan(length);
  }
  const auto recipe = decode_recipe(pages);
  // What is accepted is exactly what a writer would write, and adds up.
  if (recipe && encode_recipe(*recipe) != pages) std::abort();
  if (recipe) {
    Recipe built{.content = recipe->content, .size = 0, .entries = {}};
    for (const Recipe::Entry& entry : recipe->entries) built.append(entry.id, entry.size, entry.repeat);
    if (built != *recipe) std::abort();
  }
  return 0;
}
