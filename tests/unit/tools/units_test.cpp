#include "tools/text/units.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

namespace stellarium::text {
namespace {

TEST(FormatBytes, ShowsThreeDigits) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(999), "999 B");
  EXPECT_EQ(format_bytes(1536), "1.50 KiB");
  EXPECT_EQ(format_bytes(12'900'000), "12.3 MiB");
  EXPECT_EQ(format_bytes(350ull << 20), "350 MiB");
  EXPECT_EQ(format_bytes(~0ull), "16.0 EiB");
}

TEST(FormatDuration, ChangesItsUnit) {
  EXPECT_EQ(format_duration(0), "0.0 s");
  EXPECT_EQ(format_duration(59.94), "59.9 s");
  EXPECT_EQ(format_duration(185), "3 min 05 s");
  EXPECT_EQ(format_duration(7620), "2 h 07 min");
}

TEST(FormatMode, ShowsTypeAndSpecialBitsAsLsDoes) {
  EXPECT_EQ(format_mode(S_IFDIR | 0755), "drwxr-xr-x");
  EXPECT_EQ(format_mode(S_IFREG | S_ISUID | 0755), "-rwsr-xr-x");
  EXPECT_EQ(format_mode(S_IFREG | S_ISGID | 0644), "-rw-r-Sr--");
  EXPECT_EQ(format_mode(S_IFDIR | S_ISVTX | 0777), "drwxrwxrwt");
  EXPECT_EQ(format_mode(S_IFLNK | 0777), "lrwxrwxrwx");
}

TEST(ParseBytes, TakesWhatPeopleWrite) {
  EXPECT_EQ(parse_bytes("512"), 512u);
  EXPECT_EQ(parse_bytes("512B"), 512u);
  EXPECT_EQ(parse_bytes("1K"), 1024u);
  EXPECT_EQ(parse_bytes("10G"), 10ull << 30);
  EXPECT_EQ(parse_bytes("10GiB"), 10ull << 30);
  EXPECT_EQ(parse_bytes("16777215TB"), 16777215ull << 40);
}

TEST(ParseBytes, RefusesEverythingElse) {
  for (const char* text : {"", "G", "-1", "1.5G", "1 G", "1g", "1GG", "1Gi", "1X", "16777216T", "99999999999999999999"})
    EXPECT_EQ(parse_bytes(text), std::nullopt) << text;
}

}  // namespace
}  // namespace stellarium::text
