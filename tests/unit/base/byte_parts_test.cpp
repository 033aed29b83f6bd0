#include "base/byte_parts.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <vector>

#include "base/unique_fd.h"

namespace stellarium {
namespace {

UniqueFd file_of(std::string_view bytes) {
  UniqueFd file{::memfd_create("parts", MFD_CLOEXEC)};
  EXPECT_EQ(::pwrite(file.get(), bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
  return file;
}

TEST(ByteParts, AreReadAndWrittenOneAfterTheOther) {
  std::string text;
  for (int i = 0; i < 20'000; ++i) text += static_cast<char>('a' + i % 26);
  const UniqueFd file = file_of(text);
  for (const std::size_t piece : {1u, 7u, 4096u, 30'000u}) {  // of one byte: more than one call takes
    std::string read(text.size(), '?');
    std::vector<MutableByteSpan> parts{MutableByteSpan{}};
    const MutableByteSpan whole = std::as_writable_bytes(std::span{read});
    for (std::size_t at = 0; at < whole.size(); at += piece)
      parts.push_back(whole.subspan(at, std::min(piece, whole.size() - at)));
    EXPECT_EQ(size_of(parts), text.size());
    EXPECT_EQ(read_parts(file.get(), parts, 0).value(), text.size());
    EXPECT_TRUE(read == text) << piece;

    const UniqueFd copy = file_of("");
    const std::vector<ByteSpan> written{parts.begin(), parts.end()};
    EXPECT_EQ(write_parts(copy.get(), written, 3).value(), text.size());
    std::string back(text.size() + 3, '?');
    EXPECT_EQ(::pread(copy.get(), back.data(), back.size(), 0), static_cast<ssize_t>(back.size()));
    EXPECT_TRUE(back == std::string(3, '\0') + text) << piece;

    std::string gathered(text.size(), '?');
    gather(written, std::as_writable_bytes(std::span{gathered}));
    EXPECT_TRUE(gathered == text) << piece;
  }
}

TEST(ByteParts, EndWhereTheFileEnds) {
  const UniqueFd file = file_of("0123456789");
  std::string read(20, '?');
  const MutableByteSpan whole = std::as_writable_bytes(std::span{read});
  const std::vector<MutableByteSpan> parts{whole.first(3), whole.subspan(3)};
  EXPECT_EQ(read_parts(file.get(), parts, 5).value(), 5u);
  EXPECT_EQ(read.substr(0, 6), "56789?");
  EXPECT_EQ(read_parts(file.get(), parts, 10).value(), 0u);
  EXPECT_EQ(size_of(first_of(MutableByteParts{parts}, 5)), 5u);
  EXPECT_EQ(first_of(MutableByteParts{parts}, 3).size(), 1u);
  EXPECT_TRUE(first_of(MutableByteParts{parts}, 0).empty());
  EXPECT_EQ(size_of(first_of(MutableByteParts{parts}, 1000)), 20u);
}

TEST(ByteParts, ErrorsAreToldIfNothingWasDoneBefore) {
  std::string text = "text";
  const std::vector<MutableByteSpan> parts{std::as_writable_bytes(std::span{text})};
  const std::vector<ByteSpan> written{parts.begin(), parts.end()};
  EXPECT_EQ(read_parts(-1, parts, 0).error().sys_errno, EBADF);
  EXPECT_EQ(write_parts(-1, written, 0).error().sys_errno, EBADF);
  // Memory that is not there: an error of the call, not of this process.
  const UniqueFd file = file_of("0123456789");
  void* nowhere = ::mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  const std::vector<MutableByteSpan> bad{MutableByteSpan{static_cast<std::byte*>(nowhere), 4}};
  EXPECT_EQ(read_parts(file.get(), bad, 0).error().sys_errno, EFAULT);
  const std::vector<MutableByteSpan> later{parts[0], bad[0]};
  EXPECT_EQ(read_parts(file.get(), later, 0).value(), 4u);
  ::munmap(nowhere, 4096);
}

}  // namespace
}  // namespace stellarium
