#pragma once
#include "cdn/manifest.h"
#include "support/index_example.h"

namespace stellarium::test {

/// A manifest as a publisher could write it, of an image that does not exist.
inline cdn::Manifest manifest_example() {
  const std::string index = cdn::encode_index(IndexExample{}.index);
  const cas::Hash index_id = cas::hash_of(as_bytes(index));
  cdn::Manifest manifest;
  manifest.layer = {id_of_byte(0x10), 70'000, {{id_of_byte(0x11), 40'000}, {id_of_byte(0x12), 30'000}}};
  manifest.index = {index_id, index.size(), {{index_id, static_cast<std::uint32_t>(index.size())}}};
  manifest.metadata = {id_of_byte(0x13), 31'000};
  manifest.metadata_frames = {{30'500, 2}, {500, 1}};
  manifest.bundles = {{id_of_byte(0x14), 79'000}, {id_of_byte(0x15), 30'000}};
  manifest.inodes = 9;
  manifest.bytes = 286'494;
  return manifest;
}

}  // namespace stellarium::test
