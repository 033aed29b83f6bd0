#include "fs/entry_sorter.h"

#include <algorithm>
#include <cassert>
#include <cstring>

#include "base/bytes.h"

namespace stellarium::fs {
namespace {

constexpr std::size_t kLengths = 8;  // of the record, of its key
constexpr std::size_t kRunBuffer = 64u << 10;

std::uint64_t first_bytes(std::string_view key) {
  char bytes[8] = {};
  std::memcpy(bytes, key.data(), std::min(key.size(), sizeof bytes));
  return load_be<std::uint64_t>(bytes);
}

}  // namespace

EntrySorter::EntrySorter(std::filesystem::path scratch, std::size_t memory)
    : memory_{memory / alignof(Slot) * alignof(Slot)}, arena_{memory_}, spilled_{std::move(scratch), 0} {
  assert(memory <= UINT32_MAX);
}

// A record is the length of its key, the key, the value.
EntrySorter::Pair EntrySorter::split(std::string_view record) {
  const std::size_t key_size = load_le<std::uint32_t>(record.data());
  return {record.substr(4, key_size), record.substr(4 + key_size)};
}

std::string_view EntrySorter::record_in_arena(const Slot& slot) const {
  const std::byte* const at = arena_.data() + slot.offset;
  return as_text({at + 4, load_le<std::uint32_t>(at)});
}

std::span<EntrySorter::Slot> EntrySorter::slots() const {
  return {reinterpret_cast<Slot*>(arena_.data() + memory_) - slot_count_, slot_count_};
}

Result<void> EntrySorter::add(std::string_view key, std::string_view value) {
  assert(!merging_);
  const std::size_t size = kLengths + key.size() + value.size();
  if (size + sizeof(Slot) > memory_)
    return fail(Errc::invalid_argument, "an entry of " + std::to_string(size) + " bytes");
  if (used_ + size + (slot_count_ + 1) * sizeof(Slot) > memory_ && slot_count_ != 0) {
    if (const Result<void> spilled = spill(); !spilled) return spilled;
  }
  std::byte* const at = arena_.data() + used_;
  store_le<std::uint32_t>(at, static_cast<std::uint32_t>(size - 4));
  store_le<std::uint32_t>(at + 4, static_cast<std::uint32_t>(key.size()));
  std::memcpy(at + kLengths, key.data(), key.size());
  std::memcpy(at + kLengths + key.size(), value.data(), value.size());
  ++slot_count_;
  slots().front() = {first_bytes(key), static_cast<std::uint32_t>(used_)};
  used_ += size;
  return {};
}

void EntrySorter::sort_slots() {
  std::ranges::sort(slots(), [this](const Slot& a, const Slot& b) {
    if (a.key_start != b.key_start) return a.key_start < b.key_start;
    const int order = split(record_in_arena(a)).key.compare(split(record_in_arena(b)).key);
    return order != 0 ? order < 0 : a.offset < b.offset;
  });
}

Result<void> EntrySorter::spill() {
  if (spilled_.size() + used_ > kMaxSpill)
    return fail(Errc::out_of_space, "sorting the tree's names takes over 16 GiB: it is no sane tree");
  sort_slots();
  for (const Slot& slot : slots()) {
    if (const Result<std::uint64_t> at = spilled_.append(record_in_arena(slot)); !at) return fail(at.error());
  }
  run_ends_.push_back(spilled_.size());
  slot_count_ = 0;
  used_ = 0;
  return {};
}

bool EntrySorter::later(std::size_t a, std::size_t b) const {
  const int order = split(runs_[a].record).key.compare(split(runs_[b].record).key);
  return order != 0 ? order > 0 : a > b;
}

Result<void> EntrySorter::start_merging() {
  merging_ = true;
  if (run_ends_.empty()) {
    sort_slots();
    return {};
  }
  if (slot_count_ != 0) {
    if (const Result<void> spilled = spill(); !spilled) return spilled;
  }
  arena_ = {};
  std::uint64_t begin = 0;
  for (const std::uint64_t end : run_ends_) {
    runs_.push_back({ScratchFile::Reader{spilled_, begin, end, kRunBuffer}, {}});
    begin = end;
  }
  for (std::size_t run = 0; run < runs_.size(); ++run) {
    const Result<std::optional<std::string_view>> first = runs_[run].reader.next();
    if (!first) return fail(first.error());
    runs_[run].record = **first;
    heap_.push_back(run);
  }
  std::ranges::make_heap(heap_, [this](std::size_t a, std::size_t b) { return later(a, b); });
  return {};
}

Result<std::optional<EntrySorter::Pair>> EntrySorter::next_of_runs() {
  const auto order = [this](std::size_t a, std::size_t b) { return later(a, b); };
  if (taken_) {
    const Result<std::optional<std::string_view>> record = runs_[*taken_].reader.next();
    if (!record) return fail(record.error());
    if (*record) {
      runs_[*taken_].record = **record;
      heap_.push_back(*taken_);
      std::ranges::push_heap(heap_, order);
    }
    taken_.reset();
  }
  if (heap_.empty()) return std::nullopt;
  std::ranges::pop_heap(heap_, order);
  taken_ = heap_.back();
  heap_.pop_back();
  return split(runs_[*taken_].record);
}

Result<std::optional<EntrySorter::Pair>> EntrySorter::next() {
  if (!merging_) {
    if (const Result<void> started = start_merging(); !started) return fail(started.error());
  }
  if (!runs_.empty()) return next_of_runs();
  if (next_slot_ == slot_count_) return std::nullopt;
  return split(record_in_arena(slots()[next_slot_++]));
}

}  // namespace stellarium::fs
