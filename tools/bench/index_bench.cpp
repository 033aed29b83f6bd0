// bench_index [CHUNKS] [DIR]: what the chunk index costs per chunk, in memory and on disk, and how fast it answers.
//
// The ids are pseudo-random, as digests are; the locations go up as those of an import do, with sizes of any length.
// The block cache gets 1.5 bytes per chunk (at least 8 MiB), and "memory" is everything that the engine holds then.
// Look-ups are measured on an index that was closed and opened again, with ids in random order.
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <iostream>
#include <string>

#include "cas/chunk_index.h"
#include "cas/families.h"

namespace stellarium::cas {
namespace {

constexpr std::uint64_t kChunksPerFrame = 10, kFramesPerSegment = 700;
constexpr std::size_t kBatch = 4096;

/// SplitMix64 (Steele, Lea, Flood, 2014): number → 8 random-looking bytes.
std::uint64_t mixed(std::uint64_t n) {
  n += 0x9e3779b97f4a7c15;
  n = (n ^ (n >> 30)) * 0xbf58476d1ce4e5b9;
  n = (n ^ (n >> 27)) * 0x94d049bb133111eb;
  return n ^ (n >> 31);
}

ChunkId id_of(std::uint64_t n) {
  ChunkId id;
  for (std::size_t word = 0; word < 4; ++word) store_le(id.bytes.data() + 8 * word, mixed(4 * n + word));
  return id;
}

ChunkLocation location_of(std::uint64_t n) {
  const std::uint64_t frame = n / kChunksPerFrame;
  return {.segment = static_cast<std::uint32_t>(frame / kFramesPerSegment),
          .container = static_cast<std::uint32_t>(frame % kFramesPerSegment * 90'000 + mixed(frame) % 90'000),
          .raw_offset = static_cast<std::uint32_t>(n % kChunksPerFrame * 24'000 + mixed(n) % 24'000),
          .size = static_cast<std::uint32_t>(1 + mixed(~n) % 65'536)};
}

[[noreturn]] void give_up(const Error& error) {
  std::cerr << "bench_index: " << to_string(error) << '\n';
  std::exit(1);
}
template <typename T>
T must(Result<T> result) {
  if (!result) give_up(result.error());
  return *std::move(result);
}
void must(const Result<void>& result) {
  if (!result) give_up(result.error());
}

std::uintmax_t bytes_in(const std::filesystem::path& dir) {
  std::uintmax_t bytes = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(dir))
    if (entry.is_regular_file()) bytes += entry.file_size();
  return bytes;
}

/// CPU time of this process, which other programs on the machine do not change much.
double cpu_seconds() {
  return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

/// Look-ups per second and core of ids that are there (`first` = 0) or not (`first` = chunks).
double lookups_per_second(const ChunkIndex& index, std::uint64_t chunks, std::uint64_t first) {
  constexpr double kSeconds = 3;
  const double start = cpu_seconds();
  std::uint64_t done = 0;
  while (cpu_seconds() - start < kSeconds)
    for (int n = 0; n < 1000; ++n, ++done) {
      const bool found = must(index.find(id_of(first + mixed(~done) % chunks))).has_value();
      if (found != (first == 0)) give_up(Error{Errc::corrupt, "a look-up gave the wrong answer", 0});
    }
  return static_cast<double>(done) / (cpu_seconds() - start);
}

void run(std::uint64_t chunks, const std::filesystem::path& dir) {
  const Database::Options options{.cache_bytes = std::max<std::size_t>(8u << 20, chunks * 3 / 2)};
  {
    const auto database = must(Database::open(dir, kFamilies, options));
    ChunkIndex index{*database};
    const double start = cpu_seconds();
    std::vector<ChunkIndex::Entry> batch;
    for (std::uint64_t n = 0; n < chunks; ++n) {
      batch.push_back({id_of(n), location_of(n)});
      if (batch.size() < kBatch && n + 1 < chunks) continue;
      must(index.add(batch, {}));
      batch.clear();
    }
    std::cout << "added      " << static_cast<double>(chunks) / (cpu_seconds() - start) << " chunks/s\n";
    must(database->compact());
  }
  const auto database = must(Database::open(dir, kFamilies, options));
  const ChunkIndex index{*database};
  std::cout << "disk       " << static_cast<double>(bytes_in(dir)) / static_cast<double>(chunks) << " bytes/chunk\n";
  std::cout << "hits       " << lookups_per_second(index, chunks, 0) << " /s\n";
  std::cout << "misses     " << lookups_per_second(index, chunks, chunks) << " /s\n";
  std::cout << "memory     " << static_cast<double>(database->stats().memory_bytes) / static_cast<double>(chunks)
            << " bytes/chunk\n";
}

}  // namespace
}  // namespace stellarium::cas

int main(int argc, char** argv) {
  const std::uint64_t chunks = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1'000'000;
  if (chunks == 0 || chunks > 100'000'000) {
    std::cerr << "usage: bench_index [CHUNKS] [DIR]: 1 to 100,000,000 chunks (default 1,000,000) in a folder "
                 "DIR/bench-index\n";
    return 2;
  }
  const std::filesystem::path dir = std::filesystem::path{argc > 2 ? argv[2] : "."} / "bench-index";
  std::filesystem::remove_all(dir);
  stellarium::cas::run(chunks, dir);
  std::filesystem::remove_all(dir);
  return 0;
}
