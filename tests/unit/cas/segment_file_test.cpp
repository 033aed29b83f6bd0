#include <fcntl.h>
#include <gtest/gtest.h>

#include <fstream>

#include "cas/recipe.h"
#include "cas/segment_reader.h"
#include "cas/segment_writer.h"
#include "support/fault_io.h"
#include "support/file_text.h"
#include "support/frame_bytes.h"
#include "support/golden.h"
#include "support/random_bytes.h"
#include "support/temp_dir.h"

namespace stellarium::cas {
namespace {

using test::FaultIo;
using test::random_bytes;
using test::same_bytes;
using test::text_bytes;
using Bytes = std::vector<std::byte>;

constexpr StoreId kStore{std::byte{0x5e}, std::byte{0x60}};
constexpr std::uint32_t kNumber = 3;

Bytes container(std::uint64_t seed, FrameKind kind = FrameKind::chunks) {
  FrameBuilder builder{kind};
  for (std::uint64_t i = 0; i < 3; ++i) {
    const Bytes data = text_bytes(10 * seed + i, 9000);
    builder.add(hash_of(data), data);
  }
  Compressor compressor{4};
  return test::container_of(builder, compressor);
}
/// Does not compress.
Bytes raw_container(std::uint64_t seed, FrameKind kind, std::size_t size, std::uint64_t chunks) {
  FrameBuilder builder{kind};
  for (std::uint64_t i = 0; i < chunks; ++i) {
    const Bytes data = random_bytes(10 * seed + i, size);
    builder.add(hash_of(data), data);
  }
  Compressor compressor{4};
  return test::container_of(builder, compressor);
}
/// Larger than what one pread fetches.
Bytes large_container() {
  return raw_container(5, FrameKind::chunks, kMaxChunk, 4);
}

class SegmentFile : public testing::Test {
 protected:
  SegmentWriter create() { return SegmentWriter::create(io_, dir_.get(), kNumber, kStore).value(); }
  SegmentReader open() { return SegmentReader::open(system_io(), dir_.get(), kNumber, kStore).value(); }
  std::string contents() const { return test::file_text(folder_ / segment_name(kNumber)); }
  void overwrite(std::string_view bytes) const {
    std::ofstream{folder_ / segment_name(kNumber), std::ios::binary | std::ios::trunc} << bytes;
  }
  /// A finished segment of three containers; returns what its footer must list.
  std::vector<SegmentEntry> write_three() {
    SegmentWriter writer = create();
    for (const Bytes& bytes : {container(1), container(2, FrameKind::pack), large_container()})
      EXPECT_TRUE(writer.append(bytes));
    EXPECT_TRUE(writer.finish());
    return {writer.entries().begin(), writer.entries().end()};
  }

  test::TempDir folder_;
  UniqueFd dir_{::open(folder_.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  FaultIo io_;
};

TEST_F(SegmentFile, GivesBackEveryContainerAtItsOffset) {
  SegmentWriter writer = create();
  std::vector<std::pair<std::uint32_t, Bytes>> written;
  for (const Bytes& bytes : {container(1), large_container(), container(2, FrameKind::recipe)})
    written.emplace_back(writer.append(bytes).value(), bytes);

  const SegmentReader reader = open();
  Bytes buffer;
  Decompressor decompressor;
  for (const auto& [offset, bytes] : written) {
    const auto view = reader.read(offset, buffer);
    ASSERT_TRUE(view) << to_string(view.error());
    EXPECT_TRUE(same_bytes(ByteSpan{buffer}.first(bytes.size()), bytes));
    EXPECT_TRUE(decode_frame(*view, decompressor));
    EXPECT_EQ(reader.read_index(offset)->entries.size(), view->index.entries.size());
  }
}

TEST_F(SegmentFile, ListsItsContainersInItsFooterAsAWalkFindsThem) {
  const auto entries = write_three();
  ASSERT_EQ(entries.size(), 3u);
  const SegmentReader reader = open();
  EXPECT_EQ(reader.footer(), entries);
  const auto walk = reader.walk(entries.back().end());
  ASSERT_TRUE(walk);
  EXPECT_FALSE(walk->damage);
  EXPECT_EQ(walk->entries, entries);
}

TEST_F(SegmentFile, IsWhatVersionOneWrote) {
  SegmentWriter writer = create();
  ASSERT_TRUE(writer.append(raw_container(1, FrameKind::pack, 40, 3)));
  ASSERT_TRUE(writer.append(raw_container(2, FrameKind::chunks, 300, 1)));
  ASSERT_TRUE(writer.finish());
  EXPECT_EQ(contents(), test::golden_or_write("segment-v1.seg", contents()));
}

TEST_F(SegmentFile, OfVersionOneIsStillRead) {
  overwrite(test::golden("segment-v1.seg"));
  const auto entries = open().footer();
  ASSERT_TRUE(entries);
  ASSERT_EQ(entries->size(), 2u);
  Bytes buffer;
  Decompressor decompressor;
  for (const SegmentEntry& entry : *entries) {
    const auto view = open().read(entry.offset, buffer);
    ASSERT_TRUE(view);
    EXPECT_TRUE(decode_frame(*view, decompressor));
  }
}

TEST_F(SegmentFile, IsNotWrittenOverAnother) {
  create();
  const auto second = SegmentWriter::create(io_, dir_.get(), kNumber, kStore);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Errc::exists);
}

TEST_F(SegmentFile, IsDurableOnlyUpToItsLastSync) {
  SegmentWriter writer = create();
  EXPECT_EQ(writer.durable_size(), 0u);
  ASSERT_TRUE(writer.append(container(1)));
  EXPECT_EQ(writer.durable_size(), 0u);
  ASSERT_TRUE(writer.sync());
  EXPECT_EQ(writer.durable_size(), writer.size());
  const auto before = writer.durable_size();
  ASSERT_TRUE(writer.append(container(2)));
  EXPECT_EQ(writer.durable_size(), before);
}

TEST_F(SegmentFile, SyncsItsNameOnceAndNothingTwice) {
  SegmentWriter writer = create();
  ASSERT_TRUE(writer.sync());
  ASSERT_TRUE(writer.sync());
  ASSERT_TRUE(writer.append(container(1)));
  ASSERT_TRUE(writer.sync());
  EXPECT_EQ(io_.calls(), (std::vector<std::string>{"write_at", "sync_data", "sync", "write_at", "sync_data"}));
}

TEST_F(SegmentFile, SyncsItsContainersBeforeTheFooterThatVouchesForThem) {
  SegmentWriter writer = create();
  ASSERT_TRUE(writer.append(container(1)));
  ASSERT_TRUE(writer.finish());
  EXPECT_EQ(io_.calls(),
            (std::vector<std::string>{"write_at", "write_at", "sync_data", "sync", "write_at", "sync_data"}));
}

TEST_F(SegmentFile, ThatCouldNotBeSyncedIsNeverCalledDurableAgain) {
  SegmentWriter writer = create();
  ASSERT_TRUE(writer.append(container(1)));
  io_.fail_at(0, EIO);
  const auto synced = writer.sync();
  ASSERT_FALSE(synced);
  EXPECT_EQ(synced.error().code, Errc::io);
  EXPECT_NE(synced.error().context.find("00000003.seg"), std::string::npos);
  EXPECT_TRUE(writer.failed());
  EXPECT_EQ(writer.durable_size(), 0u);
}

TEST_F(SegmentFile, KeepsItsDurablePartWhicheverCallFails) {
  for (std::uint64_t call = 0;; ++call) {
    std::filesystem::remove(folder_ / segment_name(kNumber));
    io_.fail_at(call, ENOSPC);
    std::uint64_t durable = 0;
    if (auto writer = SegmentWriter::create(io_, dir_.get(), kNumber, kStore)) {
      bool going = true;
      for (std::uint64_t i = 0; i < 3 && going; ++i) going = writer->append(container(i)) && writer->sync();
      if (going) going = writer->finish().has_value();
      EXPECT_EQ(writer->failed(), !going);
      durable = writer->durable_size();
    }
    if (durable > 0) {
      const auto resumed = SegmentWriter::resume(system_io(), dir_.get(), kNumber, kStore, durable);
      ASSERT_TRUE(resumed) << "after call " << call << ": " << to_string(resumed.error());
    }
    if (!io_.reached()) break;
    ASSERT_LT(call, 100u);
  }
}

TEST_F(SegmentFile, GoesOnAfterItsDurablePartAndForgetsTheTail) {
  std::uint64_t durable = 0;
  {
    SegmentWriter writer = create();
    ASSERT_TRUE(writer.append(container(1)));
    ASSERT_TRUE(writer.sync());
    durable = writer.durable_size();
    ASSERT_TRUE(writer.append(container(2)));
  }
  overwrite(contents().substr(0, durable + 100));  // torn
  auto writer = SegmentWriter::resume(io_, dir_.get(), kNumber, kStore, durable);
  ASSERT_TRUE(writer) << to_string(writer.error());
  EXPECT_EQ(writer->append(container(3)), durable);
  ASSERT_TRUE(writer->finish());
  const auto entries = open().footer();
  ASSERT_TRUE(entries);
  ASSERT_EQ(entries->size(), 2u);
  Bytes buffer;
  EXPECT_TRUE(open().read(durable, buffer));
}

TEST_F(SegmentFile, WithADamagedDurablePartIsNotTouched) {
  std::uint64_t durable = 0;
  {
    SegmentWriter writer = create();
    ASSERT_TRUE(writer.append(container(1)));
    ASSERT_TRUE(writer.sync());
    durable = writer.durable_size();
  }
  std::string bytes = contents() + "tail";
  bytes[kSegmentHeaderSize + 50] ^= 1;
  overwrite(bytes);
  const auto writer = SegmentWriter::resume(io_, dir_.get(), kNumber, kStore, durable);
  ASSERT_FALSE(writer);
  EXPECT_EQ(writer.error().code, Errc::corrupt);
  EXPECT_EQ(contents(), bytes);
}

TEST_F(SegmentFile, IsWalkedUpToTheFirstDamage) {
  const auto entries = write_three();
  std::string bytes = contents();
  bytes[entries[1].offset + 33] ^= 1;
  overwrite(bytes);
  const auto walk = open().walk(entries.back().end());
  ASSERT_TRUE(walk);
  ASSERT_TRUE(walk->damage);
  EXPECT_EQ(walk->damage->code, Errc::corrupt);
  EXPECT_NE(walk->damage->context.find("segment 00000003.seg at byte " + std::to_string(entries[1].offset)),
            std::string::npos);
  EXPECT_EQ(walk->entries.size(), 1u);
  EXPECT_EQ(walk->end, entries[0].end());
  EXPECT_EQ(open().footer(), entries) << "the footer still tells where the others are";
}

TEST_F(SegmentFile, WalkedToALimitInsideAContainerIsDamaged) {
  const auto entries = write_three();
  for (const std::uint64_t limit : {entries[1].end() - 1, entries[1].end() + 1, std::uint64_t{entries[1].offset} + 1}) {
    const auto walk = open().walk(limit);
    ASSERT_TRUE(walk);
    EXPECT_TRUE(walk->damage) << limit;
  }
  EXPECT_TRUE(open().walk(10)->damage) << "inside the header";
  EXPECT_FALSE(open().walk(kSegmentHeaderSize)->damage);
}

TEST_F(SegmentFile, WalkedBeyondItsEndIsDamaged) {
  const auto entries = write_three();
  overwrite(contents().substr(0, entries[2].offset + 200));
  const auto walk = open().walk(entries[2].end());
  ASSERT_TRUE(walk);
  EXPECT_TRUE(walk->damage);
  EXPECT_EQ(walk->end, entries[1].end());
}

TEST_F(SegmentFile, IsNotReadAtAnOffsetWhereNoContainerBegins) {
  write_three();
  Bytes buffer;
  for (const std::uint64_t offset : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{65}, std::uint64_t{1} << 40}) {
    const auto view = open().read(offset, buffer);
    ASSERT_FALSE(view) << offset;
    EXPECT_EQ(view.error().code, Errc::corrupt) << offset;
  }
}

TEST_F(SegmentFile, ThatCannotBeReadSaysWhichAndWhereAndIsNotCalledCorrupt) {
  const auto entries = write_three();
  const SegmentReader reader = SegmentReader::open(io_, dir_.get(), kNumber, kStore).value();
  io_.fail_reads(EIO);
  Bytes buffer;
  const Error error = reader.read(entries[1].offset, buffer).error();
  EXPECT_EQ(error.code, Errc::io);
  EXPECT_EQ(error.context, "segment 00000003.seg at byte " + std::to_string(entries[1].offset) + ": reading");
  EXPECT_EQ(reader.read_index(entries[1].offset).error().code, Errc::io);
  EXPECT_EQ(reader.footer().error().code, Errc::io);
  EXPECT_EQ(reader.walk(entries.back().end()).error().code, Errc::io) << "not damage: the bytes may be fine";
  EXPECT_EQ(SegmentReader::open(io_, dir_.get(), kNumber, kStore).error().code, Errc::io);
}

TEST_F(SegmentFile, OfAnotherStoreOrNumberIsRefused) {
  create();
  EXPECT_EQ(SegmentReader::open(io_, dir_.get(), kNumber, StoreId{}).error().code, Errc::corrupt);
  std::filesystem::rename(folder_ / segment_name(kNumber), folder_ / segment_name(4));
  EXPECT_EQ(SegmentReader::open(io_, dir_.get(), 4, kStore).error().code, Errc::corrupt);
  EXPECT_EQ(SegmentReader::open(io_, dir_.get(), kNumber, kStore).error().code, Errc::not_found);
}

TEST_F(SegmentFile, GivesBackTheSpaceOfFreedContainersAndKeepsTheOthers) {
  const auto entries = write_three();
  const SegmentWriter holder =
      SegmentWriter::resume(system_io(), dir_.get(), kNumber, kStore, entries.back().end()).value();
  const std::vector freed{entries[0], entries[2]};
  const auto punched = free_containers(io_, holder.fd(), freed);
  ASSERT_TRUE(punched) << to_string(punched.error());
  EXPECT_GT(*punched, 250'000u);

  const SegmentReader reader = open();
  Bytes buffer;
  EXPECT_EQ(reader.read(entries[0].offset, buffer).error().code, Errc::not_found);
  EXPECT_EQ(reader.read(entries[2].offset, buffer).error().code, Errc::not_found);
  EXPECT_TRUE(reader.read(entries[1].offset, buffer));
  const auto walk = reader.walk(entries.back().end());
  ASSERT_TRUE(walk);
  EXPECT_FALSE(walk->damage);
  ASSERT_EQ(walk->entries.size(), 3u);
  EXPECT_EQ(walk->entries[2].kind, FrameKind::freed);
  EXPECT_EQ(walk->entries[2].size, entries[2].size);
  EXPECT_EQ(free_containers(io_, holder.fd(), freed), *punched) << "once more";
}

TEST_F(SegmentFile, MarksContainersDurablyBeforeItPunchesThem) {
  const auto entries = write_three();
  const UniqueFd file{::openat(dir_.get(), segment_name(kNumber).c_str(), O_RDWR | O_CLOEXEC)};
  const std::size_t before = io_.calls().size();
  ASSERT_TRUE(free_containers(io_, file.get(), entries));
  const auto calls = io_.calls();
  const auto sync = std::find(calls.begin() + static_cast<std::ptrdiff_t>(before), calls.end(), "sync_data");
  EXPECT_EQ(std::count(sync, calls.end(), "write_at"), 0);
  EXPECT_EQ(std::count(calls.begin() + static_cast<std::ptrdiff_t>(before), sync, "punch"), 0);
}

TEST_F(SegmentFile, FreesNothingWhereNoSuchContainerIs) {
  auto entries = write_three();
  const std::string before = contents();
  const UniqueFd file{::openat(dir_.get(), segment_name(kNumber).c_str(), O_RDWR | O_CLOEXEC)};
  entries[0].size += 1;
  EXPECT_EQ(free_containers(io_, file.get(), std::span{entries}.first(1)).error().code, Errc::corrupt);
  entries[0].offset += 1;
  EXPECT_EQ(free_containers(io_, file.get(), std::span{entries}.first(1)).error().code, Errc::corrupt);
  EXPECT_EQ(contents(), before);
}

}  // namespace
}  // namespace stellarium::cas
