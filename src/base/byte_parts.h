#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

// Bytes that lie in several pieces of memory, one after the other, as a guest's pages do.
namespace stellarium {

using ByteParts = std::span<const ByteSpan>;
using MutableByteParts = std::span<const MutableByteSpan>;

std::uint64_t size_of(ByteParts parts);
std::uint64_t size_of(MutableByteParts parts);
/// The first `size` bytes of them.
std::vector<ByteSpan> first_of(ByteParts parts, std::uint64_t size);
std::vector<MutableByteSpan> first_of(MutableByteParts parts, std::uint64_t size);
/// Copies all of them, one after the other; `into` must be as long.
void gather(ByteParts parts, MutableByteSpan into);

/// pread(2) and pwrite(2) of several pieces: until they are full or the file ends, or until all is written or there is
/// no room; after an error, what was done before it. Returns the bytes. Errors: io, out_of_space, …, if there are none.
Result<std::size_t> read_parts(int fd, MutableByteParts parts, std::uint64_t offset);
Result<std::size_t> write_parts(int fd, ByteParts parts, std::uint64_t offset);

}  // namespace stellarium
