#pragma once
#include <array>
#include <concepts>
#include <cstdint>
#include <unordered_map>

#include "base/mutex.h"
#include "fs/fuse/node_id.h"

namespace stellarium::fs::fuse {

/// Which nodes of one mount were ever opened: exactly, unlike NodeSet.
///
/// Before a node's first OPEN is answered nobody can read it, so none of its pages is locked by a READ that waits for
/// us: only then may pages be put into the kernel's cache, because who does that waits for the lock, without end if the
/// server is killed meanwhile.
/// Threads: all functions may be called concurrently. Locks: those of the stripes are held while `first` runs.
/// Memory:  a bit for each node that was opened, in words of 64 neighbours.
class OpenedNodes {
 public:
  /// Notes an open, before it is answered. `first` runs if it is the node's first one; others of the node wait for it.
  template <std::invocable Action>
  void note(NodeId node, Action&& first) {
    const std::uint64_t word = node.value() / 64;
    const std::uint64_t bit = std::uint64_t{1} << node.value() % 64;
    Stripe& stripe = stripes_[word % kStripes];
    const MutexLock lock{stripe.mutex};
    std::uint64_t& opened = stripe.words[word];
    if ((opened & bit) != 0) return;
    opened |= bit;
    first();
  }

 private:
  static constexpr std::size_t kStripes = 16;
  struct Stripe {
    Mutex mutex;
    std::unordered_map<std::uint64_t, std::uint64_t> words GUARDED_BY(mutex);
  };
  std::array<Stripe, kStripes> stripes_;
};

}  // namespace stellarium::fs::fuse
