#pragma once
#include <array>
#include <cstdint>

namespace stellarium::cas {

/// The table of a gear hash: one random 64-bit number for each value of a byte.
///
/// Method:  the output of splitmix64 (Steele, Lea, Flood, OOPSLA 2014) from a fixed seed, made at compile time. Seed
///          and order are part of what makes equal contents equal chunks everywhere: never change them.
/// Why own: a table from a seed is checked by reading these lines, a copied one is not.
using GearTable = std::array<std::uint64_t, 256>;

constexpr GearTable make_gear_table(std::uint64_t seed) {
  GearTable table{};
  for (std::uint64_t& entry : table) {
    seed += 0x9e3779b97f4a7c15;
    std::uint64_t z = seed;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    entry = z ^ (z >> 31);
  }
  return table;
}

inline constexpr std::uint64_t kGearSeed = 0x5354454c4c415249;  // "STELLARI"
inline constexpr GearTable kGear = make_gear_table(kGearSeed);

/// Bytes that a gear hash remembers: each step shifts it by one bit.
inline constexpr std::uint32_t kGearWindow = 64;

}  // namespace stellarium::cas
