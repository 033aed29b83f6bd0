#pragma once
#include <array>
#include <atomic>
#include <cstdint>

#include "fs/fuse/node_id.h"

namespace stellarium::fs::fuse {

/// A set of node ids that forgets: of two ids that fall onto one place, the later one stays.
///
/// For answers that are worth remembering and cheap to find out again. Node ids name a tree of the store, and trees are
/// sealed and never numbered anew, so what was true of one stays true, in every mount.
/// Threads: all functions may be called concurrently, without locks. Memory: 256 KiB. Cost: one cache miss.
class NodeSet {
 public:
  bool contains(NodeId node) const {
    return node != NodeId{} && place(node).load(std::memory_order_relaxed) == node.value();
  }
  void insert(NodeId node) { place(node).store(node.value(), std::memory_order_relaxed); }

 private:
  static constexpr unsigned kBits = 15;
  using Place = std::atomic<std::uint64_t>;

  static std::size_t index(NodeId node) {
    constexpr std::uint64_t kGolden = 0x9E3779B97F4A7C15;  // Fibonacci hashing: neighbours spread out
    return static_cast<std::size_t>(node.value() * kGolden >> (64 - kBits));
  }
  Place& place(NodeId node) { return places_[index(node)]; }
  const Place& place(NodeId node) const { return places_[index(node)]; }

  std::array<Place, std::size_t{1} << kBits> places_{};  // 0 is no node's id
};

}  // namespace stellarium::fs::fuse
