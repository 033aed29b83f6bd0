#include "tools/text/escape.h"

#include <gtest/gtest.h>

namespace stellarium::text {
namespace {

TEST(Escape, LeavesPrintableTextAlone) {
  EXPECT_EQ(escape("Grüße, 世界 €"), "Grüße, 世界 €");
  EXPECT_EQ(escape(""), "");
}

TEST(Escape, MakesControlCharactersVisible) {
  EXPECT_EQ(escape("a\nb\tc"), "a\\nb\\tc");
  EXPECT_EQ(escape(std::string("\0\x1b[2J\x7f", 6)), "\\x00\\x1b[2J\\x7f");
}

TEST(Escape, IsUnambiguousAboutBackslashes) {
  EXPECT_EQ(escape("a\\nb"), "a\\\\nb");
}

TEST(Escape, ShowsBytesThatAreNotUtf8) {
  EXPECT_EQ(escape("\xff"), "\\xff");
  EXPECT_EQ(escape("\xc0\xaf"), "\\xc0\\xaf");           // over-long
  EXPECT_EQ(escape("\xed\xa0\x80"), "\\xed\\xa0\\x80");  // a surrogate
  EXPECT_EQ(escape("\xe4\xb8"), "\\xe4\\xb8");           // cut short
  EXPECT_EQ(escape("\xf5\x80\x80\x80"), "\\xf5\\x80\\x80\\x80");
}

TEST(Escape, ShowsCharactersThatHideOrReorderText) {
  EXPECT_EQ(escape("\u202etxt.exe"), "\\xe2\\x80\\xaetxt.exe");
  EXPECT_EQ(escape("\u0085"), "\\xc2\\x85");
  EXPECT_EQ(escape("\u2028"), "\\xe2\\x80\\xa8");
}

TEST(Utf8, IsRecognized) {
  EXPECT_TRUE(is_utf8("a\u00e9\u4e16\U0001f600"));
  EXPECT_FALSE(is_utf8("a\x80"));
}

}  // namespace
}  // namespace stellarium::text
