// Indexes of images that nobody vouches for, for contents that the input describes first: how many, then of each its
// id's byte, size and whether it is a program. What is accepted is exactly what a publisher would write, and places
// each chunk.
#include <cstdlib>
#include <numeric>

#include "cas/frame_format.h"
#include "cdn/image_index.h"

using namespace stellarium;
using namespace stellarium::cdn;

namespace {

std::vector<ImageContent> take_contents(ByteReader& reader) {
  std::vector<ImageContent> contents(reader.le<std::uint8_t>() % 16);
  for (ImageContent& content : contents) {
    content.ref.id.bytes.fill(std::byte{reader.le<std::uint8_t>()});
    content.ref.size = reader.le<std::uint64_t>() & 0xffff'ffff'ffffu;
    if (content.ref.size == 0) content.ref.size = 1;
    content.program = reader.le<std::uint8_t>() % 2 != 0;
  }
  return contents;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ByteReader reader{std::as_bytes(std::span{data, size})};
  const auto contents = take_contents(reader);
  const ByteSpan bytes = reader.take(reader.left());
  const auto parsed = parse_index(bytes, contents);
  if (!parsed) return 0;
  if (encode_index(parsed->index) != as_text(bytes)) std::abort();

  const auto& chunks = parsed->order.chunks();
  std::vector<bool> placed(chunks.size());
  for (const ImageIndex::Bundle& bundle : parsed->index.bundles) {
    for (const ImageIndex::Frame& frame : bundle) {
      std::uint64_t raw = 0;
      for (const ChunkNumber number : frame.chunks) {
        placed.at(number) = true;
        raw += chunks[number].size;
      }
      if (raw > cas::kMaxFrameRaw) std::abort();
    }
  }
  if (std::accumulate(placed.begin(), placed.end(), std::size_t{0}) != chunks.size()) std::abort();
  return 0;
}
