#include "fs/fuse/dax_mappings.h"

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <utility>

#include "base/log.h"
#include "fs/fuse/parked_replies.h"

namespace stellarium::fs::fuse {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kLarge = 1u << 20;

bool whole_pages(std::uint64_t bytes) {
  return bytes % kPage == 0;
}

}  // namespace

bool DaxMappings::worth(const Inode& inode) {
  return inode.body == Body::content && inode.size > 0 && (inode.program || inode.size >= kLarge);
}

std::size_t DaxMappings::count() const {
  const MutexLock lock{mutex_};
  return mappings_.size();
}

void DaxMappings::forget_if_dropped() {
  if (life_ == window_->life()) return;
  life_ = window_->life();
  mappings_.clear();
}

void DaxMappings::started() {
  const MutexLock lock{mutex_};
  forget_if_dropped();
  if (auto cleared = clear(0, window_->size()); !cleared) log::warn("a guest's window: {}", to_string(cleared.error()));
}

Result<void> DaxMappings::clear(std::uint64_t place, std::uint64_t length) {
  auto at = mappings_.lower_bound(place);
  if (at != mappings_.begin()) {
    const auto before = std::prev(at);
    if (before->first + before->second.length > place) at = before;
  }
  while (at != mappings_.end() && at->first < place + length) {
    if (auto unmapped = window_->unmap(at->first, at->second.length); !unmapped) return unmapped;
    at = mappings_.erase(at);
  }
  return {};
}

void DaxMappings::set_up(const Request& request, const tier::ContentRef& content, const abi::SetupMappingIn& in,
                         Reply reply) {
  if ((in.flags & abi::kMapToWrite) != 0) return reply.error(EROFS), void();
  if (in.length == 0 || !whole_pages(in.length) || !whole_pages(in.file_offset) || !whole_pages(in.window_offset) ||
      in.file_offset >= content.size || in.length > window_->size() || in.window_offset > window_->size() - in.length)
    return reply.error(EINVAL), void();
  if (const tier::HotFilePtr hot = tier_.find_hot(content)) return map(hot, in, std::move(reply));
  // Parked: it keeps the connection, and with it this object, alive until the file is there.
  const auto parked = ParkedReplies::park(request, std::move(reply), ParkedReply::By::killing_signal,
                                          [](Reply early) { early.error(EINTR); });
  tier_.make_hot(content, [this, in, parked](const Result<tier::HotFilePtr>& filled) {
    if (!filled) {
      log::warn("a guest's window: {}", to_string(filled.error()));
      if (auto due = parked->take()) due->error(EIO);
      return;
    }
    window_->post([this, in, parked, file = *filled] {  // the tier's thread must not wait for a monitor
      if (auto due = parked->take()) map(file, in, std::move(*due));
    });
  });
}

void DaxMappings::map(const tier::HotFilePtr& file, const abi::SetupMappingIn& in, Reply reply) {
  const std::uint64_t rest = (file->content().size - in.file_offset + kPage - 1) / kPage * kPage;
  const std::uint64_t length = std::min(in.length, rest);
  const MutexLock lock{mutex_};
  forget_if_dropped();
  auto mapped = clear(in.window_offset, in.length);
  if (mapped) mapped = window_->map(in.window_offset, file->fd(), in.file_offset, length);
  if (!mapped) {
    log::warn("a guest's window: {}", to_string(mapped.error()));
    reply.error(EIO);
    return;
  }
  mappings_.insert_or_assign(in.window_offset, Mapping{length, file});
  reply.done();
}

void DaxMappings::remove(std::span<const abi::RemoveMappingOne> which, Reply reply) {
  const MutexLock lock{mutex_};
  forget_if_dropped();
  for (const abi::RemoveMappingOne& one : which) {
    if (one.length > window_->size() || one.window_offset > window_->size() - one.length)
      return reply.error(EINVAL), void();
    if (auto cleared = clear(one.window_offset, one.length); !cleared) {
      log::warn("a guest's window: {}", to_string(cleared.error()));
      return reply.error(EIO), void();
    }
  }
  reply.done();
}

}  // namespace stellarium::fs::fuse
