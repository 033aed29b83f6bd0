#include "fs/fuse/content_reader.h"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <utility>

#include "base/log.h"
#include "fs/fuse/parked_replies.h"
#include "fs/fuse/session.h"

namespace stellarium::fs::fuse {
namespace {

// Enough for the readahead of two fill threads; later cold misses wait for one of them. 16 MiB in all, when needed.
constexpr std::size_t kParkedBuffers = 16;

void answer(Reply& reply, const tier::ContentRef& content, MutableByteSpan wanted, const Result<std::size_t>& got) {
  if (got && *got == wanted.size()) {
    reply.bytes(wanted);
    return;
  }
  // The server is ending: the kernel asks the next one.
  if (!got && got.error().code == Errc::cancelled) return reply.none();
  log::error("content {} cannot be read: {}", content.id.hex(),
             got ? "it ends after " + std::to_string(*got) + " of " + std::to_string(wanted.size()) + " bytes"
                 : to_string(got.error()));
  reply.error(got ? EIO : errno_of(got.error()));
}

struct Filling {
  std::shared_ptr<ParkedReply> reply;  // keeps the server, and with it the pool,
  ReplyBuffer buffer;                  // until the buffer is back: members end in reverse order
};

}  // namespace

std::uint64_t readable(std::uint64_t file_size, std::uint64_t offset, std::uint64_t size) {
  return offset >= file_size ? 0 : std::min(size, file_size - offset);
}

ContentReader::ContentReader(tier::Tier& tier) : tier_{tier}, buffers_{kMaxPayload, kParkedBuffers} {}

bool ContentReader::read(const Request& request, const tier::ContentRef& content, std::uint64_t offset,
                         std::uint32_t size, Reply reply) {
  const auto length = static_cast<std::size_t>(
      std::min<std::uint64_t>(readable(content.size, offset, size), std::min(reply.max_payload(), kMaxPayload)));
  if (length == 0) {
    reply.done();
    return false;
  }
  if (const auto room = reply.room(length); !room.empty() && tier_.read_hot(content, offset, room))
    return reply.filled(length), false;
  if (offset == 0) tier_.note_reader(content);
  const MutableByteSpan scratch = reply.scratch(length);
  if (const auto present = tier_.read_if_present(content, offset, scratch); present == length) {
    reply.bytes(scratch);
    return false;
  }
  const auto parked = ParkedReplies::park(request, std::move(reply), ParkedReply::By::killing_signal,
                                          [](Reply early) { early.error(EINTR); });
  // Buffers are few: they are not for those who wait for another host.
  tier_.bring(content, offset, length, [this, content, offset, length, parked](const Result<void>& brought) {
    if (brought) return fill(content, offset, length, parked);
    if (auto due = parked->take()) answer(*due, content, {}, fail(brought.error()));
  });
  return true;
}

void ContentReader::fill(const tier::ContentRef& content, std::uint64_t offset, std::size_t length,
                         const std::shared_ptr<ParkedReply>& parked) {
  buffers_.lend([this, content, offset, length, parked](Result<ReplyBuffer> buffer) {
    if (!buffer) {
      if (auto due = parked->take()) due->error(ENOMEM);
      return;
    }
    const auto filling = std::make_shared<Filling>(Filling{parked, std::move(*buffer)});
    const MutableByteSpan wanted = filling->buffer.span().first(length);
    tier_.read_async(content, offset, wanted, [content, wanted, filling](const Result<std::size_t>& got) {
      if (auto due = filling->reply->take()) answer(*due, content, wanted, got);
    });
  });
}

}  // namespace stellarium::fs::fuse
