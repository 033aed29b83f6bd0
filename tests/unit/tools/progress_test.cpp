#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tools/cli/progress_display.h"

namespace stellarium::cli {
namespace {

using protocol::Progress;
using testing::HasSubstr;
using testing::Not;

TEST(ProgressLine, ShowsAmountRateAndTimeLeft) {
  const std::string line =
      progress_line({.phase = "import", .done = 50u << 20, .total = 100u << 20, .files = 12}, 5, 200);
  EXPECT_THAT(line, HasSubstr("50 %"));
  EXPECT_THAT(line, HasSubstr("50.0 MiB of 100 MiB"));
  EXPECT_THAT(line, HasSubstr("12 files"));
  EXPECT_THAT(line, HasSubstr("10.0 MiB/s"));
  EXPECT_THAT(line, HasSubstr("5.0 s left"));
}

TEST(ProgressLine, NeverShowsMoreThanHundredPercent) {
  const std::string line = progress_line({.phase = "import", .done = 300, .total = 100}, 5, 200);
  EXPECT_THAT(line, HasSubstr("100 %"));
  EXPECT_THAT(line, HasSubstr("300 B of 300 B"));
  EXPECT_THAT(line, Not(HasSubstr("left")));
}

TEST(ProgressLine, ShowsHundredPercentOnlyAtTheEnd) {
  EXPECT_THAT(progress_line({.phase = "x", .done = 999, .total = 1000}, 5, 200), HasSubstr(" 99 %"));
}

TEST(ProgressLine, WithoutATotalHasNeitherBarNorPercent) {
  const std::string line = progress_line({.phase = "import", .done = 1000}, 5, 200);
  EXPECT_THAT(line, Not(HasSubstr("%")));
  EXPECT_THAT(line, Not(HasSubstr("[")));
}

TEST(ProgressLine, FitsIntoTheTerminal) {
  EXPECT_LE(progress_line({.phase = std::string(300, 'p'), .done = 1, .total = 2}, 1, 40).size(), 40u);
}

TEST(ProgressLine, ShowsNoControlCharacterOfItsPhase) {
  EXPECT_THAT(progress_line({.phase = "a\x1b[2J", .done = 1}, 1, 200), Not(HasSubstr("\x1b")));
}

TEST(ProgressJson, IsOneObjectWithASchema) {
  const auto object = nlohmann::json::parse(progress_json({.phase = "gc", .done = 1, .total = 4, .bytes = false}, 2));
  EXPECT_EQ(object["schema"], 1);
  EXPECT_EQ(object["percent"], 25.0);
  EXPECT_EQ(object["unit"], "items");
}

}  // namespace
}  // namespace stellarium::cli
