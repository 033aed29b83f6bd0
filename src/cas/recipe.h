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

  bool operator==(const Recipe&) const = default;
  /// A content of at most kMaxChunk bytes needs no stored recipe: it is its own only chunk (an empty one has none).
  static Recipe of_single_chunk(const ContentId& content, std::uint64_t size);
  /// Adds `times` equal chunks of `chunk_size` bytes at the end, to the last entry where it is the same chunk.
  void append(const ChunkId& id, std::uint32_t chunk_size, std::uint64_t times = 1);
  /// The recipe's own id: BLAKE3 of its canonical encoding.
  Hash id() const;
};

/// Entries per page: a page stays below 64 KiB, so that it can itself be stored as a chunk.
inline constexpr std::size_t kRecipePageEntries = 1024;

/// The first bytes of every page: a page that is found in a segment says where it belongs.
struct RecipePageHeader {
  ContentId content;
  std::uint64_t size;     ///< of the content
  std::uint32_t page;     ///< 0 … pages - 1
  std::uint32_t pages;    ///< of the whole recipe: at least 1
  std::uint32_t entries;  ///< in this page
};

/// The key of a page in the family `recipe`: content id, then the page number, big-endian (36 bytes).
std::string recipe_page_key(const ContentId& content, std::uint32_t page);

std::vector<std::string> encode_recipe(const Recipe& recipe);  ///< its pages, in order; at least one
/// Errors: corrupt, version.
[[nodiscard]] Result<RecipePageHeader> parse_recipe_page_header(ByteSpan page);
/// Refuses (corrupt) sizes that do not add up, entries of 0 or more than 64 KiB, and everything non-canonical: for a
/// list of chunks there is exactly one encoding.
[[nodiscard]] Result<Recipe> decode_recipe(const std::vector<std::string>& pages);

}  // namespace stellarium::cas
