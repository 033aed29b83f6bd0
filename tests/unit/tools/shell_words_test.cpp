#include "tools/text/shell_words.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdio>

namespace stellarium::text {
namespace {

TEST(ShellLine, QuotesOnlyWhatMustBe) {
  EXPECT_EQ(shell_line({"qemu", "-m", "1G", "a=b,c=/d:e"}), "qemu -m 1G a=b,c=/d:e");
  EXPECT_EQ(shell_line({"a b", "", "it's", "$x"}), "'a b' '' 'it'\\''s' '$x'");
}

TEST(ShellLine, IsReadByAShellAsTheSameWords) {
  const std::vector<std::string> words{"",    " ", "'", "''", "\"", "\\", "a\nb", "$(exit)",
                                       "`x`", "*", "~", "#",  "!",  "é",  "-n"};
  std::vector<std::string> command{"printf", "%s|"};
  command.insert(command.end(), words.begin(), words.end());
  std::FILE* const shell = ::popen(shell_line(command).c_str(), "r");
  ASSERT_NE(shell, nullptr);
  std::array<char, 1000> read{};
  const std::size_t size = std::fread(read.data(), 1, read.size(), shell);
  EXPECT_EQ(::pclose(shell), 0);
  std::string expected;
  for (const std::string& word : words) expected += word + "|";
  EXPECT_EQ((std::string{read.data(), size}), expected);
}

}  // namespace
}  // namespace stellarium::text
