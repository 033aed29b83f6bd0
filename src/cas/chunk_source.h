#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "cas/frame_buffers.h"
#include "cas/hash.h"

namespace stellarium::cas {

/// Consecutive chunks that were compressed together, decoded, every one of them checked against its id.
struct DecodedFrame {
  struct Entry {
    ChunkId id;
    std::uint32_t offset;  ///< in `bytes`
    std::uint32_t size;    ///< 1 … 64 KiB
  };
  std::vector<Entry> entries;
  FrameBuffer bytes;  ///< at most 256 KiB

  const Entry* find(const ChunkId& id) const;  ///< linear; a frame holds few dozen entries
  ByteSpan data(const Entry& entry) const { return bytes.bytes().subspan(entry.offset, entry.size); }
};

/// Anything that can deliver a chunk by its id: local segments, and later a peer, a CDN or an object store.
///
/// Threads: `fetch` may be called concurrently.
/// Errors:  not_found (this source does not have it), corrupt (it had other bytes), unavailable, io.
class ChunkSource {
 public:
  virtual ~ChunkSource() = default;
  /// A verified frame that holds at least the chunk `id`.
  [[nodiscard]] virtual Result<std::shared_ptr<const DecodedFrame>> fetch(const ChunkId& id) = 0;
};

}  // namespace stellarium::cas
