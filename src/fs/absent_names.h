#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/mutex.h"
#include "fs/layer_reader.h"
#include "fs/types.h"

namespace stellarium::fs {

/// The names of a clone that were asked for last and that no layer has: who makes a file asked for its name just
/// before, and to look for a name that is nowhere is the dearest question.
///
/// Whoever changes names counts that (Change), and what was learned before is forgotten. Threads: all functions may be
/// called concurrently; one change at a time.
class AbsentNames {
 public:
  using Place = LayerReader::Place;

  /// Say it before the name is looked for.
  std::uint64_t now() const { return changes_; }
  /// The name was looked for since `since`, and is nowhere; its entry would be at `place`.
  void remember(Ino directory, std::string_view name, const Place& place, std::uint64_t since) {
    if (since % 2 != 0 || since != changes_) return;
    Slot& slot = slot_of(directory);
    const MutexLock lock{slot.mutex};
    slot.directory = directory;
    slot.name = name;
    slot.place = place;
    slot.since = since;
  }
  /// For who changes names: nobody else does.
  std::optional<Place> find(Ino directory, std::string_view name) {
    Slot& slot = slot_of(directory);
    const MutexLock lock{slot.mutex};
    if (slot.directory != directory || slot.since != changes_ || slot.name != name) return std::nullopt;
    return slot.place;
  }

  /// Names change while it lives.
  class Change {
   public:
    explicit Change(AbsentNames& names) : names_{names} { ++names_.changes_; }
    Change(const Change&) = delete;
    Change& operator=(const Change&) = delete;
    ~Change() { ++names_.changes_; }

   private:
    AbsentNames& names_;
  };

 private:
  struct Slot {
    Mutex mutex;
    Ino directory GUARDED_BY(mutex) = 0;
    std::string name GUARDED_BY(mutex);
    Place place GUARDED_BY(mutex);
    std::uint64_t since GUARDED_BY(mutex) = 0;
  };
  Slot& slot_of(Ino directory) { return slots_[directory % slots_.size()]; }

  std::array<Slot, 8> slots_;
  std::atomic<std::uint64_t> changes_ = 0;  // begun and done: odd while one is written
};

}  // namespace stellarium::fs
