#include "fs/disk_stream.h"

#include <gtest/gtest.h>

#include <map>

#include "fs/tinyvol.h"
#include "support/byte_streams.h"
#include "support/golden.h"
#include "support/image_store.h"
#include "support/random_bytes.h"

namespace stellarium::fs {
namespace {

using test::must;

constexpr std::uint64_t kDisk = 40 * kVolumeBlock + 100;
constexpr std::size_t kFirstRun = 24;  // where it begins

std::string sent(std::uint64_t size, const std::map<std::uint64_t, std::string>& runs) {
  test::TextOutput out;
  auto writer = must(DiskStreamWriter::begin(out, size));
  for (const auto& [offset, bytes] : runs) must(writer.write(offset, as_bytes(bytes)));
  must(writer.finish());
  return out.text;
}

/// Offset and bytes of each run. The input comes in parts that end anywhere.
Result<std::map<std::uint64_t, std::string>> received(const std::string& stream, std::uint64_t* size = nullptr) {
  test::TextInput input{stream, 1000};
  auto reader = DiskStreamReader::begin(input);
  if (!reader) return fail(reader.error());
  if (size != nullptr) *size = reader->size();
  std::map<std::uint64_t, std::string> runs;
  for (;;) {
    const auto run = reader->next();
    if (!run) return fail(run.error());
    if (!*run) return runs;
    runs[(*run)->offset] = as_text((*run)->bytes);
  }
}

Errc refused_as(const std::string& stream) {
  const auto runs = received(stream);
  EXPECT_FALSE(runs) << "accepted";
  return runs ? Errc::io : runs.error().code;
}

std::string noise(std::uint64_t seed, std::size_t size) {
  return std::string{as_text(test::random_bytes(seed, size))};
}
std::string with_number(std::string bytes, std::size_t at, std::uint64_t number) {
  store_le(bytes.data() + at, number);
  return bytes;
}
std::string example() {
  return sent(kDisk, {{40 * kVolumeBlock, std::string(100, 'e')}});
}

TEST(DiskStream, IsReadAsItWasWritten) {
  const std::map<std::uint64_t, std::string> runs{
      {0, noise(1, kVolumeBlock)}, {2 * kVolumeBlock, noise(2, kMaxDiskRun)}, {40 * kVolumeBlock, noise(3, 100)}};
  std::uint64_t size = 0;
  EXPECT_EQ(must(received(sent(kDisk, runs), &size)), runs);
  EXPECT_EQ(size, kDisk);
}

TEST(DiskStream, LeavesZerosOut) {
  const std::string zeros(kVolumeBlock, '\0'), block = noise(1, kVolumeBlock);
  EXPECT_EQ(sent(kDisk, {{0, std::string(kMaxDiskRun, '\0')}}), sent(kDisk, {}));
  const auto runs = must(received(sent(kDisk, {{kVolumeBlock, zeros + block + block + zeros + block + zeros}})));
  EXPECT_EQ(runs, (std::map<std::uint64_t, std::string>{{2 * kVolumeBlock, block + block}, {5 * kVolumeBlock, block}}));
}

TEST(DiskStream, OfTheFirstVersionIsReadForEver) {
  EXPECT_EQ(test::golden_or_write("disk-stream-v1.bin", example()), example());
}

TEST(DiskStream, ThatWasCutIsRefusedAtEveryLength) {
  const std::string whole = example();
  for (std::size_t length = 0; length < whole.size(); ++length)
    EXPECT_EQ(refused_as(whole.substr(0, length)), Errc::corrupt) << length;
  EXPECT_EQ(refused_as(whole + "x"), Errc::corrupt);
}

TEST(DiskStream, OfAnotherVersionIsRefused) {
  std::string later = example();
  later[8] = 2;
  EXPECT_EQ(refused_as(later), Errc::version);
}

TEST(DiskStream, RefusesWhatNoWriterWrites) {
  const std::string whole = example(), block = noise(1, kVolumeBlock);
  EXPECT_EQ(refused_as(with_number(whole, 0, 0)), Errc::corrupt);
  EXPECT_EQ(refused_as(with_number(whole, 16, 0)), Errc::corrupt);
  EXPECT_EQ(refused_as(with_number(whole, 16, kMaxVolumeSize + 1)), Errc::corrupt);
  for (const std::uint64_t offset : {std::uint64_t{1}, kDisk, 41 * kVolumeBlock, ~std::uint64_t{0}})
    EXPECT_EQ(refused_as(with_number(whole, kFirstRun, offset)), Errc::corrupt) << offset;
  for (const std::uint64_t length : {std::uint64_t{99}, std::uint64_t{101}, kVolumeBlock, ~std::uint64_t{0}})
    EXPECT_EQ(refused_as(with_number(whole, kFirstRun + 8, length)), Errc::corrupt) << length;
  const std::string two = sent(kDisk, {{0, block}, {kVolumeBlock, block}});
  EXPECT_EQ(refused_as(with_number(two, kFirstRun + 16 + kVolumeBlock, 0)), Errc::corrupt) << "the same place again";
  EXPECT_EQ(refused_as(with_number(two, kFirstRun + 8, 2 * kMaxDiskRun)), Errc::corrupt) << "too long";
}

}  // namespace
}  // namespace stellarium::fs
