#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <unordered_map>
#include <utility>

namespace stellarium::tier {

/// Decides what to evict next: three first-in-first-out queues instead of one list in order of use.
///
/// Method:  S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023), with weights in bytes.
///          New things enter `small` (a tenth of the budget); what was used at least twice there moves to `main`, the
///          rest leaves and is remembered by key in `ghost`; what returns from there goes straight to `main`. So a scan
///          passes through `small` and never displaces what is used again and again.
/// Shape:   only the order lives here. The owner maps keys to nodes, says when it is over budget, and frees what is
///          evicted.
/// Cost:    a hit is one relaxed store and takes no lock; insert, erase and evict are O(1) amortized.
/// Threads: `Node::touch` from anywhere; everything else under the owner's lock.
template <typename Key, typename Value, typename Hash = std::hash<Key>>
class S3Fifo {
 public:
  class Node {
   public:
    Node(Key k, Value v, std::uint64_t w) : key{std::move(k)}, value{std::move(v)}, weight{w} {}
    const Key key;
    const Value value;
    const std::uint64_t weight;  ///< bytes

    /// Counts a use. Two threads may count as one, which the method tolerates.
    void touch() noexcept {
      const auto uses = uses_.load(std::memory_order_relaxed);
      if (uses < kMaxUses) uses_.store(static_cast<std::uint8_t>(uses + 1), std::memory_order_relaxed);
    }

   private:
    friend class S3Fifo;
    enum class Queue : std::uint8_t { none, small, main };
    std::atomic<std::uint8_t> uses_{0};
    Queue queue_ = Queue::none;
    typename std::list<std::shared_ptr<Node>>::iterator position_;
  };
  using NodePtr = std::shared_ptr<Node>;

  explicit S3Fifo(std::uint64_t budget) : budget_{budget} {}

  void insert(NodePtr node) {
    const auto seen = ghosts_.find(node->key);
    if (seen == ghosts_.end()) return enter(std::move(node), Node::Queue::small);
    forget(seen);
    enter(std::move(node), Node::Queue::main);
  }
  /// Takes a node out, wherever it is; nothing happens if it was evicted already.
  void erase(const NodePtr& node) {
    if (node->queue_ != Node::Queue::none) leave(node);
  }
  /// Takes out and returns the next victim; null when nothing is left. A victim that cannot go now is given back.
  NodePtr evict_one() {
    while (!small_.nodes.empty() || !main_.nodes.empty()) {
      const bool from_small = !small_.nodes.empty() && (small_.bytes > budget_ / 10 || main_.nodes.empty());
      NodePtr node = (from_small ? small_ : main_).nodes.back();
      leave(node);
      const auto uses = node->uses_.load(std::memory_order_relaxed);
      if (from_small ? uses < kUsesToStay : uses == 0) {
        if (from_small) remember(*node);
        return node;
      }
      node->uses_.store(from_small ? std::uint8_t{0} : static_cast<std::uint8_t>(uses - 1), std::memory_order_relaxed);
      enter(std::move(node), Node::Queue::main);
    }
    return nullptr;
  }
  void give_back(NodePtr victim) { enter(std::move(victim), Node::Queue::main); }

  std::uint64_t bytes() const { return small_.bytes + main_.bytes; }
  std::size_t count() const { return small_.nodes.size() + main_.nodes.size(); }
  bool over_budget() const { return bytes() > budget_; }
  std::uint64_t budget() const { return budget_; }

 private:
  static constexpr std::uint8_t kMaxUses = 3;
  static constexpr std::uint8_t kUsesToStay = 2;
  static constexpr std::size_t kSpareGhosts = 1024;

  struct Fifo {
    std::list<NodePtr> nodes;  // newest first
    std::uint64_t bytes = 0;
  };
  struct Ghost {
    typename std::list<Key>::iterator position;
    std::uint64_t weight;
  };
  using Ghosts = std::unordered_map<Key, Ghost, Hash>;

  void enter(NodePtr node, typename Node::Queue queue) {
    Fifo& fifo = queue == Node::Queue::small ? small_ : main_;
    fifo.bytes += node->weight;
    node->queue_ = queue;
    fifo.nodes.push_front(std::move(node));
    fifo.nodes.front()->position_ = fifo.nodes.begin();
  }
  void leave(const NodePtr& node) {
    Fifo& fifo = node->queue_ == Node::Queue::small ? small_ : main_;
    fifo.bytes -= node->weight;
    node->queue_ = Node::Queue::none;
    const auto position = node->position_;
    fifo.nodes.erase(position);
  }
  void remember(const Node& node) {
    if (ghosts_.contains(node.key)) return;
    ghost_order_.push_front(node.key);
    ghosts_.emplace(node.key, Ghost{ghost_order_.begin(), node.weight});
    ghost_bytes_ += node.weight;
    // As many bytes as `main` may hold, and, since keys cost memory too, not many more keys than there are nodes.
    while (ghost_bytes_ > budget_ - budget_ / 10 || ghosts_.size() > count() + kSpareGhosts) {
      forget(ghosts_.find(ghost_order_.back()));
      if (ghosts_.empty()) break;
    }
  }
  void forget(typename Ghosts::iterator ghost) {
    ghost_bytes_ -= ghost->second.weight;
    ghost_order_.erase(ghost->second.position);
    ghosts_.erase(ghost);
  }

  std::uint64_t budget_;
  Fifo small_, main_;
  Ghosts ghosts_;
  std::list<Key> ghost_order_;  // newest first
  std::uint64_t ghost_bytes_ = 0;
};

}  // namespace stellarium::tier
