#include "cas/chunker.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>

#include "cas/chunker_gear.h"

namespace stellarium::cas {
namespace {

// A position is a cut where all bits of a mask are 0 in the hash. Masks end below bit 60: high bits have seen most
// bytes, and the bit that the first byte of a two-byte round shifts out is never asked for.
constexpr unsigned kMaskEnd = 60;
constexpr std::uint64_t mask_of(int bits) {
  return ((std::uint64_t{1} << bits) - 1) << (kMaskEnd - static_cast<unsigned>(bits));
}

// Normalization: four times rarer than 1/avg before avg, four times more frequent after it.
constexpr int kNormalization = 2;
constexpr int bits_of(std::uint32_t avg) {
  return std::countr_zero(avg);
}

constexpr std::uint32_t kMinAvg = 256;
constexpr std::uint32_t kMaxMax = 1u << 30;

// After a window of one repeated byte b the hash is b's entry times 2^64 - 1, that is, minus the entry, and stays so.
constexpr std::uint64_t hash_of_run(std::uint8_t byte) {
  return 0 - kGear[byte];
}
constexpr bool no_run_is_cut(std::uint64_t mask) {
  for (unsigned byte = 0; byte < 256; ++byte)
    if ((hash_of_run(static_cast<std::uint8_t>(byte)) & mask) == 0) return false;
  return true;
}
static_assert(no_run_is_cut(mask_of(bits_of(Chunker::Params{}.avg) - kNormalization)),
              "with the default sizes no run of one byte may be cut before max");
static_assert((hash_of_run(0) & mask_of(bits_of(kMinAvg) - kNormalization)) != 0,
              "zeros may not be cut whatever the sizes");

constexpr GearTable shifted(GearTable table) {
  for (std::uint64_t& entry : table) entry <<= 1;
  return table;
}

// Side by side in this file, so that the loop reaches both from one register: kGear itself, which other files share, is
// reached through the linker's table in position-independent code, anew in each round.
struct Gears {
  GearTable once = kGear;
  GearTable twice = shifted(kGear);  // the entries times two
};
alignas(64) constexpr Gears kGears;

constexpr std::array<std::byte, kGearWindow> kZeroWindow{};

}  // namespace

bool Chunker::Params::valid() const {
  return min >= kGearWindow && min < avg && avg < max && max <= kMaxMax && std::has_single_bit(avg) && avg >= kMinAvg;
}

Chunker::Chunker(const Params& params)
    : params_{params},
      mask_before_{mask_of(bits_of(params.avg) + kNormalization)},
      mask_after_{mask_of(bits_of(params.avg) - kNormalization)} {
  assert(params.valid());
}

void Chunker::reset() {
  gear_ = 0;
  position_ = 0;
}

// Takes bytes until one of them is a cut under `mask`. Two bytes a round: the table look-ups of both lie outside the
// chain of dependent operations, which is one shift and one addition a round. Four rounds a turn, since such a short
// loop costs as much as what it repeats.
Chunker::Step Chunker::scan(ByteSpan data, std::uint64_t mask) {
  const auto* at = reinterpret_cast<const std::uint8_t*>(data.data());
  const std::size_t size = data.size();
  const std::uint64_t mask_shifted = mask << 1;
  std::uint64_t gear = gear_;
  std::size_t taken = 0;  // once a round has found a cut: the bytes before it
  const auto round_cuts = [&](std::size_t i) __attribute__((always_inline)) {
    const std::uint64_t first = (gear << 2) + kGears.twice[at[i]];  // the hash after the first byte, times two
    gear = first + kGears.once[at[i + 1]];
    taken = i + 1;
    if ((first & mask_shifted) == 0) return true;
    taken = i + 2;
    return (gear & mask) == 0;
  };
  std::size_t i = 0;
  for (; i + 8 <= size; i += 8)
    if (round_cuts(i) || round_cuts(i + 2) || round_cuts(i + 4) || round_cuts(i + 6)) return {taken, true};
  for (; i + 2 <= size; i += 2)
    if (round_cuts(i)) return {taken, true};
  if (i < size) {
    gear = (gear << 1) + kGears.once[at[i++]];
    if ((gear & mask) == 0) return {i, true};
  }
  gear_ = gear;
  return {i, false};
}

Chunker::Step Chunker::next(ByteSpan data) {
  std::size_t taken = 0;
  // The part of the data that lies before position `end` of the chunk.
  const auto before = [&](std::uint32_t end) {
    if (position_ >= end) return ByteSpan{};
    return data.subspan(taken, std::min<std::size_t>(data.size() - taken, end - position_));
  };
  const auto advance = [&](std::size_t count) {
    taken += count;
    position_ += static_cast<std::uint32_t>(count);
  };

  advance(before(params_.min - kGearWindow).size());
  // A chunk of min bytes may be cut behind its last byte, so the hash is asked from that byte on.
  const ByteSpan window = before(params_.min - 1);
  for (const std::byte byte : window) gear_ = (gear_ << 1) + kGears.once[std::to_integer<std::uint8_t>(byte)];
  advance(window.size());

  const struct {
    std::uint32_t end;
    std::uint64_t mask;
  } stages[] = {{params_.avg - 1, mask_before_}, {params_.max - 1, mask_after_}};
  for (const auto& stage : stages) {
    const Step step = scan(before(stage.end), stage.mask);
    advance(step.taken);
    if (step.cut) {
      reset();
      return {taken, true};
    }
  }
  if (position_ == params_.max - 1 && taken < data.size()) {
    reset();
    return {taken + 1, true};
  }
  return {taken, false};
}

Chunker::ZeroStep Chunker::next_zeros(std::uint64_t count) {
  const std::uint32_t skipped_end = params_.min - kGearWindow;
  std::uint64_t taken = 0;
  if (position_ < skipped_end) {
    taken = std::min<std::uint64_t>(count, skipped_end - position_);
    position_ += static_cast<std::uint32_t>(taken);
  }
  // One window of zeros brings the hash to the value that it keeps, and that is never a cut.
  const std::uint64_t hashed = std::min<std::uint64_t>(count - taken, kZeroWindow.size());
  const Step step = next(ByteSpan{kZeroWindow}.first(static_cast<std::size_t>(hashed)));
  taken += step.taken;
  if (step.cut || taken == count) return {taken, step.cut};

  const std::uint64_t unseen = std::min<std::uint64_t>(count - taken, params_.max - position_);
  position_ += static_cast<std::uint32_t>(unseen);
  taken += unseen;
  if (position_ < params_.max) return {taken, false};
  reset();
  return {taken, true};
}

std::uint64_t Chunker::whole_zero_bytes(std::uint64_t count) const {
  return position_ == 0 ? count - count % params_.max : 0;
}

}  // namespace stellarium::cas
