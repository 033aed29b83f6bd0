#include "cas/branch_filter.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace stellarium::cas {
namespace {

constexpr std::size_t kOperand = 4;  // bytes behind the opcode
constexpr std::size_t kBlock = 64;   // bytes whose opcodes are looked for at once: a bit for each

constexpr bool is_branch(std::byte opcode) {
  return (opcode & std::byte{0xfe}) == std::byte{0xe8};  // E8: call, E9: jmp
}
/// Whether an operand lies within 16 MiB to either side, as nearly all real ones do: 25 bits and their sign.
constexpr bool is_near(std::uint32_t operand) {
  return operand < 0x0100'0000 || operand >= 0xff00'0000;
}
/// Keeps 25 bits and repeats the highest of them: what is near stays near.
constexpr std::uint32_t sign_extended(std::uint32_t value) {
  return (value & 0x01ff'ffff) | ((value & 0x0100'0000) != 0 ? 0xfe00'0000 : 0);
}

/// Bit i: data[i] is the opcode of a branch. Reads kBlock bytes.
std::uint64_t branches_in_block(const std::byte* data) {
  std::uint64_t found = 0;
#if defined(__SSE2__)
  const __m128i low_bit_off = _mm_set1_epi8(static_cast<char>(0xfe)), call = _mm_set1_epi8(static_cast<char>(0xe8));
  for (std::size_t at = 0; at < kBlock; at += sizeof(__m128i)) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(data + at));
    const __m128i equal = _mm_cmpeq_epi8(_mm_and_si128(bytes, low_bit_off), call);
    found |= std::uint64_t{static_cast<std::uint32_t>(_mm_movemask_epi8(equal))} << at;
  }
#else
  for (std::size_t at = 0; at < kBlock; ++at) found |= std::uint64_t{is_branch(data[at])} << at;
#endif
  return found;
}

/// Replaces the operand of every branch by `change(operand, position of the next instruction)` where it is near, and
/// counts those. Data between branches costs a look at each block; a branch costs no jump that depends on the data.
template <typename Change>
std::size_t change_near_branches(MutableByteSpan data, Change change) {
  std::size_t near = 0;
  const auto visit = [&](std::size_t opcode) {
    std::byte* const operand = &data[opcode + 1];
    const auto value = load_le<std::uint32_t>(operand);
    near += is_near(value) ? 1 : 0;
    store_le(operand, is_near(value) ? change(value, static_cast<std::uint32_t>(opcode + 1 + kOperand)) : value);
  };

  std::size_t next = 0;  // the first byte that is not the operand of an earlier branch
  std::size_t block = 0;
  for (; block + kBlock + kOperand <= data.size(); block += kBlock) {
    std::uint64_t branches = branches_in_block(&data[block]);
    if (next > block) branches &= ~std::uint64_t{0} << (next - block);  // at most kOperand
    while (branches != 0) {
      const auto at = static_cast<std::size_t>(std::countr_zero(branches));
      visit(block + at);
      next = block + at + 1 + kOperand;
      branches &= ~(std::uint64_t{(1u << (1 + kOperand)) - 1} << at);
    }
  }
  for (next = std::max(next, block); next + kOperand < data.size();) {
    if (!is_branch(data[next])) {
      ++next;
      continue;
    }
    visit(next);
    next += 1 + kOperand;
  }
  return near;
}

}  // namespace

std::size_t convert_branches(MutableByteSpan data) {
  return change_near_branches(data,
                              [](std::uint32_t operand, std::uint32_t next) { return sign_extended(operand + next); });
}

void restore_branches(MutableByteSpan data) {
  change_near_branches(data, [](std::uint32_t operand, std::uint32_t next) { return sign_extended(operand - next); });
}

}  // namespace stellarium::cas
