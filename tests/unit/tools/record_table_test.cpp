#include "tools/keeper/record_table.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

namespace stellarium::keeper {
namespace {

UniqueFd memory_file(std::string_view content) {
  UniqueFd file{::memfd_create("test", MFD_CLOEXEC)};
  EXPECT_EQ(::write(file.get(), content.data(), content.size()), static_cast<ssize_t>(content.size()));
  return file;
}

Record record_of(std::string name, std::string blob, std::string_view content = "x") {
  Record record{std::move(name), std::move(blob), {}};
  record.descriptors.push_back(memory_file(content));
  return record;
}

protocol::Frame frame_of(std::string payload) {
  protocol::Frame frame;
  frame.payload = std::move(payload);
  frame.descriptors.push_back(memory_file("x"));
  return frame;
}

TEST(Record, SurvivesTheWire) {
  const auto record = Record::decode(frame_of(record_of("mount-1", std::string("b\0b", 3)).encode()));
  ASSERT_TRUE(record) << to_string(record.error());
  EXPECT_EQ(record->name, "mount-1");
  EXPECT_EQ(record->blob, std::string("b\0b", 3));
  EXPECT_EQ(record->descriptors.size(), 1u);
}

TEST(Record, WithoutDescriptorOrNameOrWithTooLargeABlobIsRefused) {
  protocol::Frame without;
  without.payload = record_of("a", "b").encode();
  EXPECT_FALSE(Record::decode(std::move(without)));
  EXPECT_FALSE(Record::decode(frame_of(record_of("", "b").encode())));
  EXPECT_FALSE(Record::decode(frame_of(record_of(std::string(kMaxRecordName + 1, 'n'), "b").encode())));
  EXPECT_FALSE(Record::decode(frame_of(record_of("a", std::string(kMaxBlob + 1, 'b')).encode())));
  EXPECT_FALSE(Record::decode(frame_of("garbage")));
}

TEST(RecordTable, ReplacesARecordOfTheSameName) {
  RecordTable table;
  ASSERT_TRUE(table.put(record_of("a", "old")));
  ASSERT_TRUE(table.put(record_of("a", "new")));
  ASSERT_EQ(table.records().size(), 1u);
  EXPECT_EQ(table.records().at("a").blob, "new");
}

TEST(RecordTable, RemovesByNameAndSaysIfThereIsNone) {
  RecordTable table;
  ASSERT_TRUE(table.put(record_of("a", "")));
  EXPECT_TRUE(table.remove("a"));
  EXPECT_EQ(table.remove("a").error().code, Errc::not_found);
}

TEST(RecordTable, ClosesTheDescriptorsOfARemovedRecord) {
  RecordTable table;
  ASSERT_TRUE(table.put(record_of("a", "")));
  const int fd = table.records().at("a").descriptors[0].get();
  ASSERT_TRUE(table.remove("a"));
  EXPECT_EQ(::fcntl(fd, F_GETFD), -1);
}

TEST(RecordTable, PassesToTheNextProgramWithEveryDescriptor) {
  const UniqueFd also = memory_file("also");
  // Never destroyed: execve destroys nothing, and the numbers must stay open.
  static auto* const table = new RecordTable;
  ASSERT_TRUE(table->put(record_of("a", "blob a", "content a")));
  ASSERT_TRUE(table->put(record_of("b", "blob b", "content b")));
  const int listener = ::dup(also.get());
  const auto heirloom = table->bequeath({listener});
  ASSERT_TRUE(heirloom) << to_string(heirloom.error());
  EXPECT_EQ(::fcntl(table->records().at("a").descriptors[0].get(), F_GETFD) & FD_CLOEXEC, 0);

  const auto inherited = RecordTable::inherit(*heirloom);
  ASSERT_TRUE(inherited) << to_string(inherited.error());
  ASSERT_EQ(inherited->also.size(), 1u);
  const Record& b = inherited->table.records().at("b");
  EXPECT_EQ(b.blob, "blob b");
  std::string content(9, '\0');
  ASSERT_EQ(::pread(b.descriptors[0].get(), content.data(), content.size(), 0), 9);
  EXPECT_EQ(content, "content b");
  EXPECT_NE(::fcntl(b.descriptors[0].get(), F_GETFD) & FD_CLOEXEC, 0);
}

TEST(RecordTable, RefusesAMalformedHeirloom) {
  for (const std::string& bytes :
       {std::string{}, std::string{"STLRKPR1"}, std::string{"STLRKPR2"} + std::string(8, '\0'),
        std::string{"STLRKPR1"} + "\x7f", std::string{"STLRKPR1"} + std::string("\x01\x00\x00\x00\x00\x00", 6)}) {
    EXPECT_FALSE(RecordTable::inherit(memory_file(bytes).release())) << bytes;
  }
}

}  // namespace
}  // namespace stellarium::keeper
