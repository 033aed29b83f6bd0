#include "cdn/s3/xml.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace stellarium::cdn::s3 {
namespace {

using Elements = std::vector<std::pair<std::string, std::string>>;

Result<Elements> elements(std::string_view document) {
  Elements found;
  const auto read = read_xml(document, [&](std::string_view path, std::string_view text) -> Result<void> {
    found.emplace_back(path, text);
    return {};
  });
  if (!read) return fail(read.error());
  return found;
}

TEST(Xml, IsReadElementByElement) {
  const auto found =
      elements("<?xml version=\"1.0\"?><a xmlns=\"urn:x\">\n<b>1 &amp; 2</b><c/>x<b>&#65;<![CDATA[<]]></b></a>");
  ASSERT_TRUE(found) << to_string(found.error());
  EXPECT_EQ(*found, (Elements{{"a/b", "1 & 2"}, {"a/c", ""}, {"a/b", "A<"}, {"a", "\nx"}}));
}

TEST(Xml, MayComeAfterBlanks) {
  EXPECT_TRUE(elements("  \r\n \n<?xml version=\"1.0\"?><a/>"));
}

TEST(Xml, ThatIsNoneIsRefused) {
  for (const char* document : {"", "   ", "a", "<a>", "<a></b>", "<a/><b/>", "<a/>x", "<a>&nbsp;</a>", "<a>\x01</a>",
                               "<a>\xff</a>", "{\"a\":1}", "<html><p></html>"}) {
    const auto found = elements(document);
    ASSERT_FALSE(found) << document;
    EXPECT_EQ(found.error().code, Errc::invalid_argument);
  }
}

TEST(Xml, HasNoDocumentTypeSoThatNothingExpandsOrIsReadFromOutside) {
  EXPECT_FALSE(elements("<!DOCTYPE a><a/>"));
  EXPECT_FALSE(elements("<!DOCTYPE a [<!ENTITY x \"xxxxxxxxxx\"><!ENTITY y \"&x;&x;&x;\">]><a>&y;</a>"));
  EXPECT_FALSE(elements("<!DOCTYPE a [<!ENTITY x SYSTEM \"/etc/hostname\">]><a>&x;</a>"));
  EXPECT_FALSE(elements("<!DOCTYPE a SYSTEM \"http://127.0.0.1:9/x\"><a/>"));
}

TEST(Xml, IsBounded) {
  std::string deep, deeper;
  for (int level = 0; level < 8; ++level) deep = "<a>" + deep + "</a>";
  for (int level = 0; level < 100'000; ++level) deeper += "<a>";
  EXPECT_TRUE(elements(deep));
  EXPECT_FALSE(elements("<a>" + deep + "</a>"));
  EXPECT_FALSE(elements(deeper));
  EXPECT_TRUE(elements("<a>" + std::string(64u << 10, 'x') + "</a>"));
  EXPECT_FALSE(elements("<a>" + std::string((64u << 10) + 1, 'x') + "</a>"));
  EXPECT_FALSE(elements("<" + std::string(1000, 'a') + "/>"));
}

TEST(Xml, EndsWithTheFirstErrorOfTheReader) {
  int calls = 0;
  const auto read = read_xml("<a><b/><b/><b/></a>", [&](std::string_view, std::string_view) -> Result<void> {
    if (++calls == 2) return fail(Errc::cancelled, "enough");
    return {};
  });
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, Errc::cancelled);
  EXPECT_EQ(calls, 2);
}

}  // namespace
}  // namespace stellarium::cdn::s3
