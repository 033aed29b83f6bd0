#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/large_bytes.h"
#include "base/result.h"
#include "fs/scratch_file.h"

namespace stellarium::fs {

/// Sorts (key, value) pairs that may outgrow memory: `add` any number, then `next` until nothing is left.
///
/// Method:  runs of at most `memory` bytes sorted in place, spilled to a scratch file, merged once with a heap.
/// Order:   keys by bytes; pairs of equal keys stay in the order in which they were added.
/// Memory:  `memory` bytes while adding, 64 KiB a run while merging; in memory throughout if everything fits.
/// Errors:  out_of_space (also beyond `kMaxSpill`, which no real tree reaches), io.
/// Threads: one at a time.
class EntrySorter {
 public:
  static constexpr std::uint64_t kMaxSpill = 16ull << 30;  ///< bytes

  EntrySorter(std::filesystem::path scratch, std::size_t memory);

  Result<void> add(std::string_view key, std::string_view value);

  struct Pair {
    std::string_view key, value;  ///< valid until the next call
  };
  /// The smallest pair that is left; nothing at the end. After the first call nothing can be added.
  Result<std::optional<Pair>> next();

 private:
  // Where a pair lies in the arena; the key's first bytes save most look-ups while sorting.
  struct Slot {
    std::uint64_t key_start;
    std::uint32_t offset;
  };
  struct Run {
    ScratchFile::Reader reader;
    std::string_view record;  // what the run offers next
  };
  static Pair split(std::string_view record);
  std::string_view record_in_arena(const Slot& slot) const;
  std::span<Slot> slots() const;  // the newest first, until they are sorted
  void sort_slots();
  Result<void> spill();
  Result<void> start_merging();
  Result<std::optional<Pair>> next_of_runs();
  bool later(std::size_t a, std::size_t b) const;  // whether run a offers its pair after run b: the heap's order

  std::size_t memory_, used_ = 0;
  LargeBytes arena_;  // records from its start, slots from its end
  std::size_t slot_count_ = 0;
  ScratchFile spilled_;
  std::vector<std::uint64_t> run_ends_;
  bool merging_ = false;
  std::size_t next_slot_ = 0;
  std::vector<Run> runs_;
  std::vector<std::size_t> heap_;
  std::optional<std::size_t> taken_;  // the run whose pair the caller has now
};

}  // namespace stellarium::fs
