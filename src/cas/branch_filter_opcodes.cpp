#include "cas/branch_filter_opcodes.h"

#include <bit>
#include <cassert>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace stellarium::cas {
namespace {

// Bit i of what these return: block[i] is an opcode.
#if defined(__x86_64__)

std::uint64_t opcodes_in_part(const std::byte* block, unsigned at) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(block + at));
  const __m128i low_bit_off = _mm_set1_epi8(static_cast<char>(0xfe)), call = _mm_set1_epi8(static_cast<char>(0xe8));
  const __m128i equal = _mm_cmpeq_epi8(_mm_and_si128(bytes, low_bit_off), call);
  return std::uint64_t{static_cast<std::uint32_t>(_mm_movemask_epi8(equal))} << at;
}
std::uint64_t opcodes_in_block(const std::byte* block) {
  return opcodes_in_part(block, 0) | opcodes_in_part(block, 16) | opcodes_in_part(block, 32) |
         opcodes_in_part(block, 48);
}

#define STELLARIUM_AVX2 __attribute__((target("avx2,bmi,popcnt")))

STELLARIUM_AVX2 inline std::uint64_t opcodes_in_half(const std::byte* half) {
  const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(half));
  const __m256i low_bit_off = _mm256_set1_epi8(static_cast<char>(0xfe));
  const __m256i call = _mm256_set1_epi8(static_cast<char>(0xe8));
  const __m256i equal = _mm256_cmpeq_epi8(_mm256_and_si256(bytes, low_bit_off), call);
  return static_cast<std::uint32_t>(_mm256_movemask_epi8(equal));
}

STELLARIUM_AVX2 std::size_t list_opcodes_avx2(const std::byte* data, std::size_t from, std::size_t blocks,
                                              OpcodeList& list) {
  std::uint32_t* end = list.data();
  for (const std::size_t stop = from + blocks * kOpcodeBlock; from < stop; from += kOpcodeBlock) {
    std::uint64_t bits = opcodes_in_half(data + from) | opcodes_in_half(data + from + 32) << 32;
    if (bits == 0) continue;
    std::uint32_t* to = end;
    end += _mm_popcnt_u64(bits);
    do {
#pragma GCC unroll 4
      for (std::size_t i = 0; i < kOpcodesAtOnce; ++i, bits &= bits - 1)
        to[i] = static_cast<std::uint32_t>(from + _tzcnt_u64(bits));
      to += kOpcodesAtOnce;
    } while (bits != 0);
  }
  return static_cast<std::size_t>(end - list.data());
}

#else

std::uint64_t opcodes_in_block(const std::byte* block) {
  std::uint64_t found = 0;
  for (std::size_t at = 0; at < kOpcodeBlock; ++at) found |= std::uint64_t{is_branch(block[at])} << at;
  return found;
}

#endif

}  // namespace

std::size_t list_opcodes_anywhere(const std::byte* data, std::size_t from, std::size_t blocks, OpcodeList& list) {
  std::size_t count = 0;
  for (const std::size_t stop = from + blocks * kOpcodeBlock; from < stop; from += kOpcodeBlock)
    for (std::uint64_t bits = opcodes_in_block(data + from); bits != 0; bits &= bits - 1)
      list[count++] = static_cast<std::uint32_t>(from + static_cast<std::size_t>(std::countr_zero(bits)));
  return count;
}

std::size_t list_opcodes(const std::byte* data, std::size_t from, std::size_t blocks, OpcodeList& list) {
  assert(blocks <= kMaxOpcodeBlocks);
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("popcnt"))
    return list_opcodes_avx2(data, from, blocks, list);
#endif
  return list_opcodes_anywhere(data, from, blocks, list);
}

}  // namespace stellarium::cas
