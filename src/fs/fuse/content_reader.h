#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>

#include "fs/fuse/reply.h"
#include "fs/fuse/reply_buffers.h"
#include "fs/fuse/request.h"
#include "tier/tier.h"

namespace stellarium::fs::fuse {

class ParkedReply;

/// Answers READ requests from the tier: at once where the bytes are in memory or in a hot file, else from a thread of
/// the tier with a buffer of its own, so that a cold miss holds no worker.
///
/// Bytes are complete or the answer is EIO: a short READ would show zeros in the page cache.
/// Threads: may be called concurrently.
class ContentReader {
 public:
  explicit ContentReader(tier::Tier& tier);
  /// Bytes [offset, offset + size) of the content, cut at its end and at what one reply holds. EINTR if the program is
  /// killed while it waits. Returns whether it has to wait.
  bool read(const Request& request, const tier::ContentRef& content, std::uint64_t offset, std::uint32_t size,
            Reply reply);

 private:
  /// Once everything is at this host: with a buffer, on a thread of the tier.
  void fill(const tier::ContentRef& content, std::uint64_t offset, std::size_t length,
            const std::shared_ptr<ParkedReply>& parked);

  tier::Tier& tier_;
  ReplyBuffers buffers_;
};

/// The part of [offset, offset + size) that lies in a file of `file_size` bytes, as a length. Never overflows.
std::uint64_t readable(std::uint64_t file_size, std::uint64_t offset, std::uint64_t size);

}  // namespace stellarium::fs::fuse
