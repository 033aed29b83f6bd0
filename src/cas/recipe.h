#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "cas/hash.h"

namespace stellarium::cas {

inline constexpr std::uint64_t kMaxChunk = 64u << 10;  ///< bytes; also: a content up to this size is one chunk

/// The ordered chunk list of one content (docs/formats/recipe.md).
///
/// Runs of the same chunk (zeros, mostly) are one entry with a repeat count, always as long as possible, so that a
/// content has exactly one recipe. Chunk boundaries depend on nothing but the bytes.
struct Recipe {
  struct Entry {
    ChunkId id;
    std::uint32_t size;    ///< of one chunk: 1 … 64 KiB
    std::uint32_t repeat;  ///< ≥ 1
    bool operator==(const Entry&) const = default;
  };
  ContentId content;       ///< BLAKE3 of all bytes
  std::uint64_t size = 0;  ///< of all bytes
  std::vector<Entry> entries;

  /// A content of at most kMaxChunk bytes needs no stored recipe: it is its own only chunk.
  static Recipe of_single_chunk(const ContentId& content, std::uint64_t size);
  /// The recipe's own id: BLAKE3 of its canonical encoding.
  Hash id() const;
};

/// Entries per page: a page stays below 64 KiB, so that it can itself be stored as a chunk.
inline constexpr std::size_t kRecipePageEntries = 1024;

std::vector<std::string> encode_recipe(const Recipe& recipe);  ///< its pages, in order
/// Refuses (corrupt) sizes that do not add up, entries of 0 or more than 64 KiB, and everything non-canonical.
Result<Recipe> decode_recipe(const std::vector<std::string>& pages);

}  // namespace stellarium::cas
