#include "cas/branch_filter.h"

#include <bit>
#include <cstdint>
#include <span>

namespace stellarium::cas {
namespace {

constexpr std::size_t kOperand = 4;  // bytes behind the opcode
constexpr std::size_t kLeastBranchesPerKib = 4;

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

constexpr std::uint64_t in_every_byte(std::uint8_t value) {
  return value * std::uint64_t{0x0101'0101'0101'0101};
}

/// Where the first opcode at or behind `at` is; the end of the data if there is none.
std::size_t find_branch(ByteSpan data, std::size_t at) {
  for (; at + sizeof(std::uint64_t) <= data.size(); at += sizeof(std::uint64_t)) {
    const std::uint64_t eight = load_le<std::uint64_t>(&data[at]);
    const std::uint64_t other = (eight & in_every_byte(0xfe)) ^ in_every_byte(0xe8);  // an opcode is a zero byte in it
    const std::uint64_t zeros = (other - in_every_byte(1)) & ~other & in_every_byte(0x80);  // exact up to the first one
    if (zeros != 0) return at + static_cast<std::size_t>(std::countr_zero(zeros)) / 8;
  }
  while (at < data.size() && !is_branch(data[at])) ++at;
  return at;
}

/// Calls `found` with the operand's place and the position of the next instruction for every near branch.
template <typename Byte, typename Found>
void for_each_near_branch(std::span<Byte> data, Found found) {
  for (std::size_t at = find_branch(data, 0); at + kOperand < data.size(); at = find_branch(data, at)) {
    Byte* const operand = &data[at + 1];
    at += 1 + kOperand;
    if (is_near(load_le<std::uint32_t>(operand))) found(operand, static_cast<std::uint32_t>(at));
  }
}

}  // namespace

void convert_branches(MutableByteSpan data) {
  for_each_near_branch(data, [](std::byte* operand, std::uint32_t next) {
    store_le(operand, sign_extended(load_le<std::uint32_t>(operand) + next));
  });
}

void restore_branches(MutableByteSpan data) {
  for_each_near_branch(data, [](std::byte* operand, std::uint32_t next) {
    store_le(operand, sign_extended(load_le<std::uint32_t>(operand) - next));
  });
}

bool looks_like_machine_code(ByteSpan data) {
  std::size_t branches = 0;
  for_each_near_branch(data, [&](const std::byte*, std::uint32_t) { ++branches; });
  return branches * 1024 >= data.size() * kLeastBranchesPerKib;
}

}  // namespace stellarium::cas
