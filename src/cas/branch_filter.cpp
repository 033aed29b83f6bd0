#include "cas/branch_filter.h"

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <limits>

#include "cas/branch_filter_opcodes.h"

namespace stellarium::cas {
namespace {

constexpr std::size_t kOperand = 4;  // bytes behind the opcode

/// Whether an operand lies within 16 MiB to either side, as nearly all real ones do: 25 bits and their sign.
constexpr bool is_near(std::uint32_t operand) {
  return operand + 0x0100'0000 < 0x0200'0000;
}
/// Keeps 25 bits and repeats the highest of them: what is near stays near.
constexpr std::uint32_t sign_extended(std::uint32_t value) {
  return static_cast<std::uint32_t>(static_cast<std::int32_t>(value << 7) >> 7);
}

/// Replaces the operand of every branch by `change(operand, position of the next instruction)` where it is near, and
/// counts those. Opcodes are listed some blocks ahead: a wide load just behind a change that reaches into it would have
/// to wait for it. What the changes make of the bytes ahead does not matter, as operands are skipped.
template <typename Change>
std::size_t change_near_branches(MutableByteSpan data, Change change) {
  assert(data.size() <= std::numeric_limits<std::uint32_t>::max());  // positions are listed in 32 bits
  std::size_t near = 0;
  std::size_t next = 0;  // the first byte that is not the operand of an earlier branch
  const auto visit = [&](std::size_t opcode) {
    next = opcode + 1 + kOperand;
    std::byte* const operand = &data[opcode + 1];
    const auto value = load_le<std::uint32_t>(operand);
    const std::uint32_t changed = change(value, static_cast<std::uint32_t>(next));
    const std::uint32_t one_if_near = is_near(value) ? 1 : 0;
    near += one_if_near;
    store_le(operand, value ^ ((value ^ changed) & (0 - one_if_near)));  // no jump that would depend on the data
  };

  const std::size_t whole_blocks = data.size() < kOperand ? 0 : (data.size() - kOperand) / kOpcodeBlock;
  OpcodeList opcodes;
  for (std::size_t block = 0; block < whole_blocks; block += kMaxOpcodeBlocks) {
    const std::size_t blocks = std::min(kMaxOpcodeBlocks, whole_blocks - block);
    const std::size_t count = list_opcodes(data.data(), block * kOpcodeBlock, blocks, opcodes);
    for (std::size_t i = 0; i < count; ++i)
      if (opcodes[i] >= next) visit(opcodes[i]);
  }
  for (next = std::max(next, whole_blocks * kOpcodeBlock); next + kOperand < data.size();) {
    if (is_branch(data[next]))
      visit(next);
    else
      ++next;
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
