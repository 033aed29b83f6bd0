#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/bytes.h"

// Built optimized and without sanitizers in every build kind (tests/support/CMakeLists.txt): an instrumented loop over
// each byte of every test's data took most of the time of the unit tests under ThreadSanitizer.
namespace stellarium::test {

/// The same incompressible bytes for the same seed, everywhere.
std::vector<std::byte> random_bytes(std::uint64_t seed, std::size_t size);

/// Bytes that compress to about an eighth: one of sixteen letters, in runs.
std::vector<std::byte> text_bytes(std::uint64_t seed, std::size_t size);

bool same_bytes(ByteSpan left, ByteSpan right);

}  // namespace stellarium::test
