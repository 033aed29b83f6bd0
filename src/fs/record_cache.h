#pragma once
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "base/mutex.h"
#include "base/result.h"
#include "fs/layer_reader.h"
#include "fs/types.h"

namespace stellarium::fs {

/// Inode records that a clone lately read or wrote: a program that makes a file changes it three times and asks about
/// it and about its folder as often, and each question costs the database 3 µs.
///
/// Write-through: whoever writes a record says so afterwards, under the lock that lets one change happen at a time; who
/// writes many behind its back holds it (Hold). Of two inodes that fall onto one place the later one stays.
/// Threads: all functions may be called concurrently. Memory: 64 KiB.
class RecordCache {
 public:
  using Located = LayerReader::Located;

  RecordCache() = default;
  RecordCache(const RecordCache&) = delete;
  RecordCache& operator=(const RecordCache&) = delete;

  /// As `reader.locate(ino)` of the layers that are written just now.
  Result<std::optional<Located>> locate(const LayerReader& reader, Ino ino);
  void written(Ino ino, Located record);  ///< it is what the database says from now on
  void drop(Ino ino);                     ///< what the database says is not known here

  /// Knows nothing while it lives.
  class Hold {
   public:
    explicit Hold(RecordCache& records);
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;
    ~Hold() { --records_.holds_; }

   private:
    RecordCache& records_;
  };

 private:
  static constexpr std::size_t kPlaces = 256;
  struct Place {
    Mutex mutex;
    std::uint64_t version GUARDED_BY(mutex) = 0;  // rises with each change: what was read before it is not kept
    Ino ino GUARDED_BY(mutex) = 0;                // 0: nothing is known
    Located record GUARDED_BY(mutex) = {};
  };
  Place& place_of(Ino ino) { return places_[ino % kPlaces]; }  // numbers follow the order of making

  std::array<Place, kPlaces> places_;
  std::atomic<int> holds_ = 0;
};

}  // namespace stellarium::fs
