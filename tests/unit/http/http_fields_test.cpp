#include "cdn/http/http_fields.h"

#include <gtest/gtest.h>

namespace stellarium::cdn::http {
namespace {

TEST(HttpFields, AContentRangeIsExactlyOfItsForm) {
  EXPECT_EQ(parse_content_range("bytes 0-99/1000"), (ContentRange{0, 99, 1000}));
  EXPECT_EQ(parse_content_range("bytes 5-5/*"), (ContentRange{5, 5, std::nullopt}));
  for (const char* value : {"",
                            "bytes",
                            "bytes 0-99",
                            "bytes 0-99/",
                            "bytes 99-0/1000",
                            "bytes 0-99/99",
                            "bytes -99/1000",
                            "bytes 0-/1000",
                            "bytes */1000",
                            "bytes 0-99/1000 ",
                            "bytes  0-99/1000",
                            "bytes=0-99/1000",
                            "items 0-99/1000",
                            "bytes 0-99/-1",
                            "bytes +0-99/1000",
                            "bytes 0x0-99/1000",
                            "bytes 0-99,200-299/1000",
                            "bytes 0-18446744073709551616/*",
                            "bytes 0-9223372036854775808/*",
                            "bytes 18446744073709551615-18446744073709551615/*"})
    EXPECT_EQ(parse_content_range(value), std::nullopt) << value;
}

TEST(HttpFields, ALengthIsDigits) {
  EXPECT_EQ(parse_length("0"), 0u);
  EXPECT_EQ(parse_length("9223372036854775807"), 9223372036854775807u);
  for (const char* value : {"", "-1", "+1", "1 ", " 1", "1,1", "1.0", "0x10", "9223372036854775808"})
    EXPECT_EQ(parse_length(value), std::nullopt) << value;
}

TEST(HttpFields, ARetryAfterIsSecondsOrADate) {
  constexpr std::int64_t kThen = 784'111'777;  // Sun, 06 Nov 1994 08:49:37 GMT
  EXPECT_EQ(parse_retry_after("120", kThen), 120u);
  EXPECT_EQ(parse_retry_after("999999999999", kThen), 366u * 86'400);
  EXPECT_EQ(parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", kThen - 30), 30u);
  EXPECT_EQ(parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", kThen + 30), 0u);
  EXPECT_EQ(parse_retry_after("Fri, 31 Dec 9999 23:59:59 GMT", INT64_MIN / 2), 366u * 86'400);
  for (const char* value : {"", "-1", "soon", "Sun, 06 Nov 1994 08:49:37", "Sun, 31 Feb 1994 08:49:37 GMT",
                            "Sun, 06 Nov 1994 25:00:00 GMT", "Sun Nov  6 08:49:37 1994", "6 Nov 1994 08:49:37 GMT"})
    EXPECT_EQ(parse_retry_after(value, kThen), std::nullopt) << value;
}

TEST(HttpFields, AStatusLineHasAStatusOfThreeDigits) {
  EXPECT_EQ(parse_status_line("HTTP/1.1 206 Partial Content")->status, 206u);
  EXPECT_EQ(parse_status_line("HTTP/2 404")->major, 2u);
  for (const char* line :
       {"", "HTTP/1.1", "HTTP/1.1 2000 ok", "HTTP/1.1 20", "HTTP/1.1 099", "HTTP/1.1 600", "ICY 200"})
    EXPECT_FALSE(parse_status_line(line)) << line;
}

}  // namespace
}  // namespace stellarium::cdn::http
