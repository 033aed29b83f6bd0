#include "fs/fuse/dax_mappings.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <utility>
#include <vector>

#include "base/log.h"
#include "fs/fuse/parked_replies.h"

namespace stellarium::fs::fuse {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kLarge = 1u << 20;
constexpr std::uint64_t kCopied = 128u << 10;  // at a time
constexpr unsigned kWindowComplaints = 100;    // about one window: a log is not for a guest to fill

bool whole_pages(std::uint64_t bytes) {
  return bytes % kPage == 0;
}

std::uint64_t up_to_page(std::uint64_t bytes) {
  return (bytes + kPage - 1) / kPage * kPage;
}

/// The whole pages of the file that the guest asked for.
std::uint64_t length_of(const tier::ContentRef& content, const abi::SetupMappingIn& in) {
  return std::min(in.length, up_to_page(content.size - in.file_offset));
}

}  // namespace

bool DaxMappings::worth(const Inode& inode) {
  return inode.body == Body::content && inode.size > 0 && (inode.program || inode.size >= kLarge);
}

std::size_t DaxMappings::count() const {
  const MutexLock lock{mutex_};
  return mappings_.size();
}

void DaxMappings::answer(const Result<void>& done, Reply reply) {
  if (done) return reply.done(), void();
  if (complaints_.fetch_add(1, std::memory_order_relaxed) < kWindowComplaints)
    log::warn("a guest's window: {}", to_string(done.error()));
  reply.error(EIO);
}

void DaxMappings::forget_if_dropped() {
  if (life_ == window_->life()) return;
  // A server that goes on where another one was has a monitor that kept what that one had mapped.
  if (life_ != kNoLife || !resumed_) strike_all();
  life_ = window_->life();
}

void DaxMappings::strike_all() {
  for (const auto& [place, mapping] : mappings_) log_->remove_mapping(mapping.noted);
  mappings_.clear();
}

void DaxMappings::started(bool resumed) {
  const MutexLock lock{mutex_};
  if (resumed) {
    resumed_ = true;
    for (const auto& [slot, mapping] : log_->mappings())
      mappings_.insert_or_assign(mapping.place, Mapping{mapping.length, nullptr, slot, false});
    return;
  }
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
    const auto unmapped = window_->unmap(at->first, at->second.length);
    if (!unmapped && (at->second.certain || unmapped.error().code != Errc::io)) return unmapped;
    log_->remove_mapping(at->second.noted);
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
  tier_.make_hot(content, [this, content, in, parked](const Result<tier::HotFilePtr>& filled) {
    if (!filled && !copies_told_.exchange(true))
      log::warn("a guest's window shows copies of what has no hot file: {}", to_string(filled.error()));
    window_->post([this, content, in, parked, file = filled.value_or(nullptr)] {  // the tier's thread must not wait
      auto due = parked->take();
      if (due && file) map(file, in, std::move(*due));
      if (due && !file) map_copy(content, in, std::move(*due));
    });
  });
}

void DaxMappings::map(const tier::HotFilePtr& file, const abi::SetupMappingIn& in, Reply reply) {
  const MutexLock lock{mutex_};
  forget_if_dropped();
  auto mapped = clear(in.window_offset, in.length);
  if (mapped) mapped = map_file(file, in.window_offset, in.file_offset, length_of(file->content(), in));
  answer(mapped, std::move(reply));
}

void DaxMappings::map_copy(const tier::ContentRef& content, const abi::SetupMappingIn& in, Reply reply) {
  const std::uint64_t length = length_of(content, in);
  const auto copy = copy_of(content, in.file_offset, length);
  if (!copy) return answer(fail(copy.error()), std::move(reply));
  const MutexLock lock{mutex_};
  forget_if_dropped();
  auto mapped = clear(in.window_offset, in.length);
  if (mapped) mapped = map_piece(in.window_offset, copy->get(), 0, length, nullptr);
  answer(mapped, std::move(reply));
}

Result<void> DaxMappings::map_file(const tier::HotFilePtr& file, std::uint64_t place, std::uint64_t offset,
                                   std::uint64_t length) {
  const bool to_the_end = length > file->content().size - offset;  // of the last page the file has only a part
  if (!to_the_end || !whole_pages_only_) {
    auto mapped = map_piece(place, file->fd(), offset, length, file);
    if (mapped || !to_the_end || mapped.error().code == Errc::unavailable) return mapped;
    whole_pages_only_ = true;
  }
  const std::uint64_t whole = length - kPage;
  const auto last = copy_of(file->content(), offset + whole, kPage);
  if (!last) return fail(last.error());
  if (whole > 0) {
    if (auto mapped = map_piece(place, file->fd(), offset, whole, file); !mapped) return mapped;
  }
  return map_piece(place + whole, last->get(), 0, kPage, nullptr);
}

Result<void> DaxMappings::map_piece(std::uint64_t place, int fd, std::uint64_t offset, std::uint64_t length,
                                    const tier::HotFilePtr& file) {
  const auto noted = log_->add_mapping({place, length});
  if (!noted) return fail(noted.error());
  if (auto mapped = window_->map(place, fd, offset, length); !mapped) {
    log_->remove_mapping(*noted);
    return mapped;
  }
  mappings_.insert_or_assign(place, Mapping{length, file, *noted, true});
  return {};
}

Result<UniqueFd> DaxMappings::copy_of(const tier::ContentRef& content, std::uint64_t offset, std::uint64_t length) {
  UniqueFd copy{::memfd_create("stellarium-window", MFD_CLOEXEC)};
  if (!copy || ::ftruncate(copy.get(), static_cast<off_t>(length)) != 0) return fail_errno("memory for a window");
  const std::uint64_t end = std::min(content.size, offset + length);
  std::vector<std::byte> part(std::min(kCopied, end - offset));
  for (std::uint64_t at = offset; at < end;) {
    const auto wanted = MutableByteSpan{part}.first(std::min<std::uint64_t>(part.size(), end - at));
    const auto got = tier_.read(content, at, wanted);
    if (!got) return fail(got.error());
    if (*got != wanted.size()) return fail(Errc::corrupt, "content " + content.id.hex() + " ends too early");
    if (::pwrite(copy.get(), part.data(), wanted.size(), static_cast<off_t>(at - offset)) !=
        static_cast<ssize_t>(wanted.size()))
      return fail_errno("memory for a window");
    at += wanted.size();
  }
  return copy;
}

void DaxMappings::remove(std::span<const abi::RemoveMappingOne> which, Reply reply) {
  const MutexLock lock{mutex_};
  forget_if_dropped();
  for (const abi::RemoveMappingOne& one : which) {
    if (one.length > window_->size() || one.window_offset > window_->size() - one.length)
      return reply.error(EINVAL), void();
    if (auto cleared = clear(one.window_offset, one.length); !cleared) return answer(cleared, std::move(reply));
  }
  reply.done();
}

}  // namespace stellarium::fs::fuse
