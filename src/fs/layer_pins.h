#pragma once
#include <cstddef>
#include <map>
#include <memory>
#include <utility>

#include "base/mutex.h"
#include "fs/catalog.h"
#include "fs/types.h"

namespace stellarium::fs {

/// Who uses which layer. Shared with the pins, because a pin may outlive the catalog.
/// Threads: all functions may be called concurrently.
class PinTable {
 public:
  void add(LayerId layer) EXCLUDES(mutex_) {
    const MutexLock lock{mutex_};
    ++counts_[layer];
  }
  void drop(LayerId layer) EXCLUDES(mutex_) {
    const MutexLock lock{mutex_};
    if (--counts_[layer] == 0) counts_.erase(layer);
  }
  bool holds(LayerId layer) const EXCLUDES(mutex_) {
    const MutexLock lock{mutex_};
    return counts_.contains(layer);
  }

 private:
  mutable Mutex mutex_;
  std::map<LayerId, std::size_t> counts_ GUARDED_BY(mutex_);
};

class Pin final : public Catalog::LayerPin {
 public:
  Pin(std::shared_ptr<PinTable> table, LayerId layer) : table_{std::move(table)}, layer_{layer} { table_->add(layer_); }
  Pin(const Pin&) = delete;
  Pin& operator=(const Pin&) = delete;
  ~Pin() override { table_->drop(layer_); }

 private:
  std::shared_ptr<PinTable> table_;
  LayerId layer_;
};

}  // namespace stellarium::fs
