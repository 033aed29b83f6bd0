#include "cdn/strict_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace stellarium::cdn {
namespace {

using nlohmann::json;
using testing::HasSubstr;

std::string json_refusal(std::string_view text) {
  const auto parsed = parse_strict_json(text);
  EXPECT_FALSE(parsed) << text.substr(0, 80);
  if (parsed) return {};
  EXPECT_EQ(parsed.error().code, Errc::invalid_argument);
  return parsed.error().context;
}
std::string json_of_depth(std::size_t depth) {
  return std::string(depth, '[') + std::string(depth, ']');
}

TEST(StrictJson, IsJson) {
  EXPECT_EQ(parse_strict_json(R"( {"a":[1,true,null,"b"],"c":{}} )").value(),
            json({{"a", {1, true, nullptr, "b"}}, {"c", json::object()}}));
}

TEST(StrictJson, HasSixteenLevelsAtMost) {
  EXPECT_TRUE(parse_strict_json(json_of_depth(16)));
  EXPECT_THAT(json_refusal(json_of_depth(17)), HasSubstr("16 levels"));
  EXPECT_THAT(json_refusal(std::string(1'000'000, '[')), HasSubstr("16 levels"));
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += R"({"a":)";
  EXPECT_THAT(json_refusal(objects), HasSubstr("16 levels"));
}

TEST(StrictJson, HasNoKeyTwiceInOneObject) {
  EXPECT_THAT(json_refusal(R"({"a":1,"a":1})"), HasSubstr("\"a\" comes twice"));
  EXPECT_THAT(json_refusal(R"({"x":[{"a":1,"b":2,"a":3}]})"), HasSubstr("\"a\" comes twice"));
  EXPECT_THAT(json_refusal(R"({"a":1,"\u0061":1})"), HasSubstr("\"a\" comes twice"));
  EXPECT_TRUE(parse_strict_json(R"([{"a":1},{"a":{"a":1}}])"));
}

TEST(StrictJson, EndsWhereItEnds) {
  for (const std::string_view text : {std::string_view{"{} {}"}, std::string_view{"{}x"}, std::string_view{"{},"},
                                      std::string_view{"{}\0", 3}, std::string_view{"{}\0{}", 5}})
    json_refusal(text);
  for (const char* cut : {"", " ", "{", "[1,", "\"a", "{\"a\"", "tru", "-", "1."}) json_refusal(cut);
}

TEST(StrictJson, HasNoNumberThatNoMachineHas) {
  json_refusal("1e400");
  json_refusal("-1e400");
  for (const char* odd : {"01", "+1", "0x1", "NaN", "Infinity", ".5", "1e"}) json_refusal(odd);
}

TEST(StrictJson, IsUtf8) {
  json_refusal("\"\xff\"");
  json_refusal("\"\xc0\x80\"");
  json_refusal("\"\xed\xa0\x80\"");
  json_refusal(R"("\ud800")");
  json_refusal("\"\n\"");
}

TEST(JsonObject, TakesWholeNumbersThatAreNotNegativeOnly) {
  for (const char* wrong : {"-1", "-0", "1.0", "1e2", "18446744073709551616", "9223372036854775808", "\"1\"", "null"}) {
    const json value = parse_strict_json(std::string{R"({"n":)"} + wrong + "}").value();
    JsonObject object{value, "it"};
    EXPECT_EQ(object.number("n"), 0u);
    EXPECT_FALSE(object.error()) << wrong;
  }
  const json value = parse_strict_json(R"({"n":9223372036854775807})").value();
  JsonObject object{value, "it"};
  EXPECT_EQ(object.number("n"), 9223372036854775807u);
  EXPECT_TRUE(object.error());
}

TEST(JsonObject, TellsWhatWasWrongFirst) {
  const json value{{"text", "t"}, {"list", json::array()}};
  JsonObject object{value, "it"};
  EXPECT_EQ(object.text("text"), "t");
  EXPECT_EQ(object.number("list"), 0u);
  EXPECT_EQ(object.text("text"), "");
  EXPECT_TRUE(object.list("list").empty());
  EXPECT_THAT(object.error().error().context, HasSubstr("\"list\""));
  EXPECT_EQ(object.error().error().code, Errc::corrupt);
}

TEST(JsonObject, InsideOneThatIsWrongIsWrong) {
  const json value{{"inner", 1}};
  JsonObject one{value, "it"}, other{value, "it"};
  EXPECT_THAT(one.object("inner").error().error().context, HasSubstr("it's \"inner\""));
  EXPECT_THAT(other.object("none").error().error().context, HasSubstr("lacks \"none\""));
  EXPECT_THAT(other.object("inner").error().error().context, HasSubstr("lacks \"none\"")) << "the first";
}

}  // namespace
}  // namespace stellarium::cdn
