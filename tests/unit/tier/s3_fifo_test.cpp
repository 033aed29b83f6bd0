#include "tier/s3_fifo.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

namespace stellarium::tier {
namespace {

/// A cache that keeps nothing but the order.
class Cache {
 public:
  explicit Cache(std::uint64_t budget) : order_{budget} {}

  bool get(int key, std::uint64_t weight = 1) {
    if (const auto found = nodes_.find(key); found != nodes_.end()) {
      found->second->touch();
      return true;
    }
    order_.insert(nodes_[key] = std::make_shared<Order::Node>(key, 0, weight));
    while (order_.over_budget()) nodes_.erase(order_.evict_one()->key);
    return false;
  }
  bool has(int key) const { return nodes_.contains(key); }
  void erase(int key) {
    order_.erase(nodes_.at(key));
    nodes_.erase(key);
  }
  std::uint64_t bytes() const { return order_.bytes(); }
  std::size_t count() const { return order_.count(); }

 private:
  using Order = S3Fifo<int, int>;
  Order order_;
  std::map<int, Order::NodePtr> nodes_;
};

TEST(S3Fifo, NeverHoldsMoreThanItsBudget) {
  Cache cache{1000};
  std::mt19937 random{1};
  for (int i = 0; i < 20'000; ++i) {
    cache.get(static_cast<int>(random() % 500), 1 + random() % 50);
    ASSERT_LE(cache.bytes(), 1000u);
  }
}

TEST(S3Fifo, AScanDoesNotDisplaceWhatIsUsedAgainAndAgain) {
  Cache cache{1000};
  for (int round = 0; round < 4; ++round) {
    for (int key = 0; key < 500; ++key) cache.get(key);
  }
  for (int key = 10'000; key < 40'000; ++key) cache.get(key);  // each once
  int kept = 0;
  for (int key = 0; key < 500; ++key) kept += cache.has(key) ? 1 : 0;
  EXPECT_EQ(kept, 500);
}

TEST(S3Fifo, WhatReturnsSoonAfterItsEvictionIsKept) {
  Cache cache{100};
  cache.get(1);
  for (int key = 1000; key < 1120; ++key) cache.get(key);
  ASSERT_FALSE(cache.has(1));
  cache.get(1);  // remembered: goes to the main queue
  for (int key = 2000; key < 2060; ++key) cache.get(key);
  EXPECT_TRUE(cache.has(1));
}

TEST(S3Fifo, HitsMoreThanFifoOnASkewedLoad) {
  // Zipf-like: half of all requests for a twentieth of the keys, the rest spread over many.
  Cache cache{200};
  std::mt19937 random{7};
  int hits = 0;
  for (int i = 0; i < 50'000; ++i) {
    const int key = random() % 2 == 0 ? static_cast<int>(random() % 150) : static_cast<int>(1000 + random() % 20'000);
    hits += cache.get(key) ? 1 : 0;
  }
  EXPECT_GT(hits, 23'000);  // 25,000 is what a clairvoyant cache would reach
}

TEST(S3Fifo, ErasedThingsAreNotEvictedAgain) {
  S3Fifo<int, int> order{10};
  const auto one = std::make_shared<S3Fifo<int, int>::Node>(1, 0, 5);
  order.insert(one);
  order.erase(one);
  order.erase(one);
  EXPECT_EQ(order.evict_one(), nullptr);
  EXPECT_EQ(order.bytes(), 0u);
}

TEST(S3Fifo, AVictimThatIsGivenBackIsNotTheNextOne) {
  S3Fifo<int, int> order{10};
  for (int key = 0; key < 3; ++key) order.insert(std::make_shared<S3Fifo<int, int>::Node>(key, 0, 5));
  std::set<int> seen;
  auto first = order.evict_one();
  seen.insert(first->key);
  order.give_back(first);
  seen.insert(order.evict_one()->key);
  EXPECT_EQ(seen.size(), 2u);
}

TEST(S3Fifo, MemoryOfEvictedKeysIsBounded) {
  Cache cache{1u << 30};  // a budget of bytes that the keys' weights never fill
  for (int key = 0; key < 100'000; ++key) cache.get(key, 1u << 20);
  EXPECT_LE(cache.count(), 1024u);
}

}  // namespace
}  // namespace stellarium::tier
