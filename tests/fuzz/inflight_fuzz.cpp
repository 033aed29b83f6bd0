// What a front-end gives back as the requests in flight, and what a device makes of it.
#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <set>

#include "virtiofsd/inflight.h"

using namespace stellarium;
using namespace stellarium::virtiofsd;

namespace {

constexpr std::uint16_t kQueueSize = 64;

/// A region, and the front-end's own mapping of it.
struct Region {
  std::byte* bytes = nullptr;
  std::uint64_t size = 0;
  std::shared_ptr<const InflightRegion> region;

  Region() {
    auto made = InflightRegion::make(1, kQueueSize);
    if (!made) std::abort();
    size = made->second;
    void* mapped = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, made->first.get(), 0);
    if (mapped == MAP_FAILED) std::abort();
    bytes = static_cast<std::byte*>(mapped);
    region = *InflightRegion::map(std::move(made->first), size, 0, 1, kQueueSize);
  }
};

}  // namespace

/// Two bytes: the used ring's index; one: the size of the queue that starts; one: how many requests are taken and given
/// back afterwards; the rest is the region.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Region shared;
  if (size < 4) return 0;
  const auto used = static_cast<std::uint16_t>(data[0] | data[1] << 8);
  const std::uint32_t queue_size = 1u << (data[2] & 7);  // also larger than what there is room for
  std::memset(shared.bytes, 0, shared.size);
  std::memcpy(shared.bytes, data + 4, std::min<std::size_t>(size - 4, shared.size));

  InflightQueue queue = shared.region->queue(0);
  const auto over = queue.take_over(used, queue_size);
  const std::set<std::uint16_t> once{over.heads.begin(), over.heads.end()};
  if (once.size() != over.heads.size() || (!once.empty() && (!over.known || *once.rbegin() >= queue_size)))
    std::abort();
  std::uint16_t index = used;
  for (unsigned i = 0; i < data[3]; ++i) {
    const std::uint16_t head = data[3 + i % (size - 3)] * 257u;  // also beyond the table
    queue.taken(head);
    queue.giving_back(head);
    queue.given_back(head, ++index);
  }
  // Whoever comes next finds in hand what this one took over, less what went by under the same head.
  const auto next = shared.region->queue(0).take_over(index, queue_size);
  if (!next.known || next.heads.size() > over.heads.size()) std::abort();
  return 0;
}
