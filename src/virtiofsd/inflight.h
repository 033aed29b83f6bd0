#pragma once
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace stellarium::virtiofsd {

class InflightRegion;

/// Which requests of one queue were taken and not yet given back. Not synchronized.
class InflightQueue {
 public:
  /// The requests of a device that was killed, the oldest first, and where the queue goes on behind them: `used` is the
  /// index that its used ring has. Of a queue that was never tracked there are none, and nothing is known.
  struct TakenOver {
    std::vector<std::uint16_t> heads;
    bool known = false;
  };
  TakenOver take_over(std::uint16_t used, std::uint32_t size);
  void taken(std::uint16_t head);
  /// Before and after the used ring's index is moved to `used`: whoever is killed in between has given it back.
  void giving_back(std::uint16_t head);
  void given_back(std::uint16_t head, std::uint16_t used);

 private:
  friend class InflightRegion;
  InflightQueue(std::shared_ptr<const InflightRegion> region, std::byte* bytes, std::uint32_t size)
      : region_{std::move(region)}, bytes_{bytes}, size_{size} {}
  struct Head;
  struct Descriptor;
  Head& head() const;
  Descriptor& descriptor(std::uint16_t index) const;

  std::shared_ptr<const InflightRegion> region_;
  std::byte* bytes_;
  std::uint32_t size_;  // descriptors that there is room for
  std::uint64_t counter_ = 0;
};

/// The memory in which a device notes what it has in hand, and which its front-end keeps for the next one ("Inflight
/// I/O tracking" of the vhost-user protocol, split virtqueues).
///
/// What a front-end gives back may hold anything, but its file cannot shrink under us.
class InflightRegion : public std::enable_shared_from_this<InflightRegion> {
 public:
  /// An empty one. Errors: io, invalid_argument (more than there can be).
  static Result<std::pair<UniqueFd, std::uint64_t>> make(std::uint16_t queues, std::uint16_t queue_size);
  /// Errors: invalid_argument (not one of ours, or too small).
  static Result<std::shared_ptr<const InflightRegion>> map(UniqueFd file, std::uint64_t size, std::uint64_t offset,
                                                           std::uint16_t queues, std::uint16_t queue_size);
  InflightRegion(const InflightRegion&) = delete;
  InflightRegion& operator=(const InflightRegion&) = delete;
  ~InflightRegion();

  std::uint16_t queues() const { return queues_; }
  InflightQueue queue(std::uint16_t index) const;  ///< index < queues()

 private:
  InflightRegion(std::byte* bytes, std::size_t size, std::uint16_t queues, std::uint16_t queue_size)
      : bytes_{bytes}, size_{size}, queues_{queues}, queue_size_{queue_size} {}
  std::byte* const bytes_;
  const std::size_t size_;
  const std::uint16_t queues_, queue_size_;
};

}  // namespace stellarium::virtiofsd
