// What the store's inner loops cost: cutting, hashing, compressing and decoding. Google Benchmark's own options apply.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <random>
#include <vector>

#include "cas/branch_filter.h"
#include "cas/chunker.h"
#include "cas/codec.h"
#include "cas/frame_format.h"
#include "cas/hash.h"
#include "cas/recipe.h"

namespace stellarium::cas {
namespace {

using Bytes = std::vector<std::byte>;

Bytes random_bytes(std::size_t size) {
  std::mt19937_64 random{42};
  Bytes bytes(size);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  return bytes;
}

/// Compresses to less than half, as the files of a system do: words that recur, some of them more often, and noise.
Bytes program_like_bytes(std::size_t size) {
  std::mt19937_64 random{42};
  const Bytes words = random_bytes(64u << 10);
  Bytes bytes;
  bytes.reserve(size + 32);
  while (bytes.size() < size) {
    const std::size_t from = random() % (1 + random() % (words.size() - 32)), length = 6 + random() % 16;
    const ByteSpan word = ByteSpan{words}.subspan(from / 16 * 16, length);
    bytes.insert(bytes.end(), word.begin(), word.end());
    if (random() % 2 == 0) bytes.push_back(static_cast<std::byte>(random()));
  }
  bytes.resize(size);
  return bytes;
}

FrameBuilder full_frame() {
  const Bytes data = program_like_bytes(kMaxFrameRaw);
  FrameBuilder builder{FrameKind::chunks};
  for (std::size_t at = 0; at < data.size(); at += 32u << 10) {
    const ByteSpan chunk = ByteSpan{data}.subspan(at, 32u << 10);
    builder.add(hash_of(chunk), chunk);
  }
  return builder;
}

void report_bytes(benchmark::State& state, std::size_t per_round) {
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * static_cast<std::int64_t>(per_round));
}

void chunker(benchmark::State& state) {
  const Bytes data = random_bytes(16u << 20);
  for (auto _ : state) {
    Chunker chunker;
    std::size_t cuts = 0;
    for (ByteSpan rest{data}; !rest.empty();) {
      const Chunker::Step step = chunker.next(rest);
      rest = rest.subspan(step.taken);
      cuts += step.cut;
    }
    benchmark::DoNotOptimize(cuts);
  }
  report_bytes(state, data.size());
}
BENCHMARK(chunker);

void chunker_zeros_10_gb(benchmark::State& state) {
  for (auto _ : state) {
    Chunker chunker;
    std::uint64_t rest = 10'000'000'000;
    rest -= chunker.whole_zero_bytes(rest);
    benchmark::DoNotOptimize(chunker.next_zeros(rest));
  }
}
BENCHMARK(chunker_zeros_10_gb);

void hash(benchmark::State& state) {
  const Bytes data = random_bytes(static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) benchmark::DoNotOptimize(hash_of(data));
  report_bytes(state, data.size());
}
BENCHMARK(hash)->Arg(4 << 10)->Arg(16 << 10)->Arg(64 << 10)->Arg(1 << 20);

void frame_encode(benchmark::State& state) {
  const FrameBuilder builder = full_frame();
  Compressor compressor{static_cast<int>(state.range(0))};
  std::size_t stored = 0;
  for (auto _ : state) stored = builder.encode(compressor).size();
  state.counters["ratio"] = static_cast<double>(builder.raw_size()) / static_cast<double>(stored);
  report_bytes(state, builder.raw_size());
}
BENCHMARK(frame_encode)->ArgName("level")->Arg(1)->Arg(3)->Arg(15)->Arg(19);

void frame_decode(benchmark::State& state) {
  const FrameBuilder builder = full_frame();
  Compressor compressor{static_cast<int>(state.range(0))};
  const FrameBuffer container = builder.encode(compressor);
  Decompressor decompressor;
  for (auto _ : state) {
    const auto view = parse_frame(container.bytes());
    if (!view || !decode_frame(*view, decompressor)) state.SkipWithError("a frame that was just made is refused");
  }
  report_bytes(state, builder.raw_size());
}
BENCHMARK(frame_decode)->ArgName("level")->Arg(1)->Arg(19);

/// Calls 20 bytes apart in the mean: what a frame of machine code adds to its coding and decoding.
template <auto filter>
void branch_filter(benchmark::State& state) {
  std::mt19937_64 random{42};
  Bytes code = program_like_bytes(kMaxFrameRaw);
  for (std::size_t at = 0; at + 5 < code.size(); at += 5 + random() % 30) {
    code[at] = std::byte{0xe8};
    code[at + 4] = std::byte{0};
  }
  for (auto _ : state) {
    filter(code);
    benchmark::ClobberMemory();
  }
  report_bytes(state, code.size());
}
BENCHMARK(branch_filter<convert_branches>)->Name("branch_filter_convert");
BENCHMARK(branch_filter<restore_branches>)->Name("branch_filter_restore");

}  // namespace
}  // namespace stellarium::cas
