#pragma once
#include <array>
#include <cstddef>
#include <cstdint>

namespace stellarium::cas {

/// Lists where the opcodes of branches (E8: call, E9: jmp) are: the inner loop of branch_filter.h.
///
/// Method:  a bit for each byte of a block, then positions from bits, a fixed number of them at a time: what is too
/// much
///          is overwritten (as simdjson does it, Langdale and Lemire, VLDB Journal 2019), so that no jump depends on
///          how many opcodes a block has. With AVX2 where there is one.
inline constexpr std::size_t kOpcodeBlock = 64;      // bytes
inline constexpr std::size_t kMaxOpcodeBlocks = 32;  // in one call
inline constexpr std::size_t kOpcodesAtOnce = 4;
using OpcodeList = std::array<std::uint32_t, kMaxOpcodeBlocks * kOpcodeBlock + kOpcodesAtOnce>;

/// Lists the opcodes at `from` … `from + blocks * kOpcodeBlock`, as positions in `data`, and says how many there are.
std::size_t list_opcodes(const std::byte* data, std::size_t from, std::size_t blocks, OpcodeList& list);
/// The same for any processor; open to tests.
std::size_t list_opcodes_anywhere(const std::byte* data, std::size_t from, std::size_t blocks, OpcodeList& list);

constexpr bool is_branch(std::byte opcode) {
  return (opcode & std::byte{0xfe}) == std::byte{0xe8};
}

}  // namespace stellarium::cas
