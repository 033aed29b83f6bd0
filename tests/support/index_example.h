#pragma once
#include <utility>
#include <vector>

#include "cdn/image_index.h"

namespace stellarium::test {

inline cas::Hash id_of_byte(std::uint8_t byte) {
  cas::Hash id;
  id.bytes.fill(std::byte{byte});
  return id;
}

/// Contents as a tree could have them, and the index of their image: small ones, one in a blob of its own, a program,
/// and two large ones with a run of equal chunks and a chunk in common. Nothing of it exists.
struct IndexExample {
  std::vector<cdn::ImageContent> contents{
      {{id_of_byte(1), 10}, false},          // chunk 0, packed
      {{id_of_byte(2), 20'000}, false},      // chunk 1
      {{id_of_byte(0xc1), 180'000}, false},  // chunks 2, 3 (twice)
      {{id_of_byte(3), 100}, true},          // chunk 4: a program
      {{id_of_byte(4), 16'384}, false},      // chunk 5, packed
      {{id_of_byte(0xc2), 70'000}, false},   // chunks 2, 6
  };
  cdn::ImageIndex index;

  IndexExample() {
    cas::Recipe first{id_of_byte(0xc1), 0, {}}, second{id_of_byte(0xc2), 0, {}};
    first.append(id_of_byte(5), 60'000);
    first.append(id_of_byte(6), 60'000, 2);
    second.append(id_of_byte(5), 60'000);
    second.append(id_of_byte(7), 10'000);
    index.recipes = {std::move(first), std::move(second)};
    index.bundles = {{{9'000, {0, 1}}, {70'000, {2, 3}}}, {{30'000, {6, 4, 5}}}};
    index.packs = {{id_of_byte(0xd1), 160, {0}}, {id_of_byte(0xd2), 9'876, {5}}};
  }
};

}  // namespace stellarium::test
