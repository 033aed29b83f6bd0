#include "virtiofsd/inflight.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <string>

namespace stellarium::virtiofsd {

// As the protocol lays them out.
struct InflightQueue::Head {
  std::uint64_t features;
  std::uint16_t version, descriptors, last_given_back, used;
};
struct InflightQueue::Descriptor {
  std::uint8_t inflight, padding[5];
  std::uint16_t next;
  std::uint64_t counter;
};

namespace {

constexpr std::uint16_t kVersion = 1;
constexpr std::size_t kHead = 16, kDescriptor = 16, kAlignment = 64;
constexpr std::uint16_t kMaxQueues = 64, kMaxTrackedSize = 32'768;

std::size_t size_of_queue(std::uint16_t queue_size) {
  return (kHead + std::size_t{queue_size} * kDescriptor + kAlignment - 1) / kAlignment * kAlignment;
}

/// A field of the region, which its other owners may change at any moment: what was checked must be what is used.
template <typename Field>
Field read_once(Field& field) {
  return std::atomic_ref<Field>{field}.load(std::memory_order_relaxed);
}

/// What is written before it must be there when the process is killed after it.
void in_order() {
  std::atomic_signal_fence(std::memory_order_seq_cst);
}

}  // namespace

InflightQueue::Head& InflightQueue::head() const {
  static_assert(sizeof(Head) == kHead && sizeof(Descriptor) == kDescriptor);
  return *reinterpret_cast<Head*>(bytes_);
}
InflightQueue::Descriptor& InflightQueue::descriptor(std::uint16_t index) const {
  return *reinterpret_cast<Descriptor*>(bytes_ + kHead + std::size_t{index} * kDescriptor);
}

InflightQueue::TakenOver InflightQueue::take_over(std::uint16_t used, std::uint32_t size) {
  Head& head = this->head();
  const auto descriptors = static_cast<std::uint16_t>(std::min(size, size_));
  TakenOver over;
  if (read_once(head.version) == kVersion) {
    over.known = true;
    // It was killed between moving the index and noting that.
    const std::uint16_t last = read_once(head.last_given_back);
    if (read_once(head.used) != used && last < size_) descriptor(last).inflight = 0;
    std::vector<std::pair<std::uint64_t, std::uint16_t>> found;  // sorted here: there, counters change under the sort
    for (std::uint16_t index = 0; index < descriptors; ++index)
      if (read_once(descriptor(index).inflight) == 1) found.emplace_back(read_once(descriptor(index).counter), index);
    std::ranges::sort(found);
    for (const auto& [counter, index] : found) over.heads.push_back(index);
    if (!found.empty()) counter_ = found.back().first + 1;
  } else {
    for (std::uint32_t index = 0; index < size_; ++index)  // whatever it was before
      descriptor(static_cast<std::uint16_t>(index)).inflight = 0;
  }
  head.features = 0;
  head.descriptors = descriptors;
  head.used = used;
  in_order();
  head.version = kVersion;
  return over;
}

void InflightQueue::taken(std::uint16_t head) {
  if (head >= size_) return;
  Descriptor& entry = descriptor(head);
  entry.counter = counter_++;
  in_order();
  entry.inflight = 1;
}

void InflightQueue::giving_back(std::uint16_t head) {
  this->head().last_given_back = head;
  in_order();
}

void InflightQueue::given_back(std::uint16_t head, std::uint16_t used) {
  in_order();
  if (head < size_) descriptor(head).inflight = 0;
  in_order();
  this->head().used = used;
}

Result<std::pair<UniqueFd, std::uint64_t>> InflightRegion::make(std::uint16_t queues, std::uint16_t queue_size) {
  if (queues == 0 || queues > kMaxQueues || queue_size == 0 || queue_size > kMaxTrackedSize)
    return fail(Errc::invalid_argument,
                "tracking of " + std::to_string(queues) + " queues of " + std::to_string(queue_size) + " descriptors");
  const std::uint64_t size = queues * size_of_queue(queue_size);
  UniqueFd file{::memfd_create("stellarium-inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
  if (!file || ::ftruncate(file.get(), static_cast<off_t>(size)) != 0 ||
      ::fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK) != 0)
    return fail_errno("memory for requests in flight");
  return std::pair{std::move(file), size};
}

Result<std::shared_ptr<const InflightRegion>> InflightRegion::map(UniqueFd file, std::uint64_t size,
                                                                  std::uint64_t offset, std::uint16_t queues,
                                                                  std::uint16_t queue_size) {
  struct stat status {};
  const int seals = ::fcntl(file.get(), F_GET_SEALS);
  const bool possible = queues > 0 && queues <= kMaxQueues && queue_size > 0 && queue_size <= kMaxTrackedSize;
  if (seals < 0 || (seals & F_SEAL_SHRINK) == 0 || ::fstat(file.get(), &status) != 0 || offset != 0 || !possible ||
      size != queues * size_of_queue(queue_size) || size > static_cast<std::uint64_t>(status.st_size))
    return fail(Errc::invalid_argument, "memory for requests in flight that is not ours");
  void* mapped = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (mapped == MAP_FAILED) return fail_errno("mapping requests in flight");
  return std::shared_ptr<const InflightRegion>{
      new InflightRegion{static_cast<std::byte*>(mapped), size, queues, queue_size}};
}

InflightRegion::~InflightRegion() {
  ::munmap(bytes_, size_);
}

InflightQueue InflightRegion::queue(std::uint16_t index) const {
  return {shared_from_this(), bytes_ + index * size_of_queue(queue_size_), queue_size_};
}

}  // namespace stellarium::virtiofsd
