#include "fs/fuse/caller.h"

#include <gtest/gtest.h>

#include <string>

namespace stellarium::fs::fuse {
namespace {

constexpr std::string_view kNoMap = "         0          0 4294967295\n";

std::string status(const std::string& uid, const std::string& groups, const std::string& capabilities) {
  return "Name:\tsh\nUid:\t1\t1\t1\t" + uid + "\nGid:\t5\t5\t5\t100\nGroups:\t" + groups + "\nCapInh:\tff\nCapEff:\t" +
         capabilities + "\nSeccomp:\t0\n";
}

TEST(CallerTest, GroupsAreThatForFilesAndTheOthers) {
  const std::string text = status("1", "4 24 1000 ", "0000000000000000");
  EXPECT_TRUE(parse_caller(text, kNoMap, 100).in_group);
  EXPECT_TRUE(parse_caller(text, kNoMap, 24).in_group);
  EXPECT_TRUE(parse_caller(text, kNoMap, 1000).in_group);
  EXPECT_FALSE(parse_caller(text, kNoMap, 5).in_group);
  EXPECT_FALSE(parse_caller(text, kNoMap, 2).in_group);
  EXPECT_FALSE(parse_caller(status("1", "", "0"), kNoMap, 0).in_group);
}

TEST(CallerTest, AGroupMayBeWhatTheNamespaceCallsIt) {
  const std::string text = status("1", "70007", "0");
  constexpr std::string_view kMap = "         0      70000          100\n       500      90000          1\n";
  EXPECT_TRUE(parse_caller(text, kMap, 7).in_group);
  EXPECT_TRUE(parse_caller(text, kMap, 70007).in_group);
  EXPECT_FALSE(parse_caller(text, kMap, 8).in_group);
  EXPECT_FALSE(parse_caller(text, kMap, 500).in_group);
  EXPECT_FALSE(parse_caller(text, "", 7).in_group);
}

TEST(CallerTest, CapabilitiesAreBits) {
  EXPECT_FALSE(parse_caller(status("0", "", "0000000000000000"), kNoMap, 100).has_fsetid);
  EXPECT_TRUE(parse_caller(status("0", "", "0000000000000010"), kNoMap, 100).has_fsetid);
  EXPECT_FALSE(parse_caller(status("0", "", "000001ffffffffef"), kNoMap, 100).has_fsetid);
  EXPECT_TRUE(parse_caller(status("0", "", "000001ffffffffff"), kNoMap, 100).is_administrator);
  EXPECT_FALSE(parse_caller(status("0", "", "000001ffffdfffff"), kNoMap, 100).is_administrator);
  EXPECT_FALSE(parse_caller(status("100000", "", "000001ffffffffff"), kNoMap, 100).is_administrator)
      << "of a container only";
}

TEST(CallerTest, WhoCannotBeLookedAtMayEverything) {
  for (const char* text : {"", "Uid:\t1\t1\n", "Uid:\t1\t1\t1\t1\nGid:\t1\t1\t1\t1\n"}) {
    EXPECT_TRUE(parse_caller(text, kNoMap, 7).in_group) << text;
    EXPECT_TRUE(parse_caller(text, kNoMap, 7).has_fsetid) << text;
  }
  abi::InHeader header{};
  header.len = sizeof header;
  header.opcode = static_cast<std::uint32_t>(abi::Opcode::getattr);
  const auto request = Request::parse(std::as_bytes(std::span{&header, 1}));
  ASSERT_TRUE(request);
  EXPECT_TRUE(caller_of(*request, 7).in_group);
}

}  // namespace
}  // namespace stellarium::fs::fuse
