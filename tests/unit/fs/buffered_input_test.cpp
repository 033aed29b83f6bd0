#include "fs/buffered_input.h"

#include <gtest/gtest.h>

#include <string>

#include "support/byte_streams.h"

namespace stellarium::fs {
namespace {

std::string text_of(std::size_t size) {
  std::string text(size, ' ');
  for (std::size_t at = 0; at < size; ++at) text[at] = static_cast<char>('a' + at * 31 % 26);
  return text;
}

TEST(BufferedInput, ShowsWhatComesBeforeItIsTaken) {
  const std::string text = text_of(3 * BufferedInput::kBytes);
  test::TextInput source{text, 1000};
  BufferedInput input{source};
  std::string taken;
  // Sizes that make what is left over move to the buffer's begin.
  for (std::size_t size = 1; taken.size() + size <= text.size(); size = size * 3 % 200'003 + 1) {
    ASSERT_TRUE(input.wait_for(size).value());
    ASSERT_EQ(as_text(input.ready().first(size)), text.substr(taken.size(), size));
    taken += as_text(input.ready().first(size));
    input.take(size);
  }
  EXPECT_FALSE(input.wait_for(BufferedInput::kBytes).value());
  EXPECT_EQ(taken + std::string{as_text(input.ready())}, text);
  EXPECT_EQ(input.bytes_read(), text.size());
}

TEST(BufferedInput, IsAStreamOfWhatWasNotTaken) {
  const std::string text = text_of(100'000);
  test::TextInput source{text, 999};
  BufferedInput input{source};
  ASSERT_TRUE(input.wait_for(5000).value());
  input.take(10);
  ASSERT_TRUE(input.skip(20'000).value());
  std::string rest;
  std::string part(777, ' ');
  while (const std::size_t got = input.read(std::as_writable_bytes(std::span{part})).value())
    rest += part.substr(0, got);
  EXPECT_EQ(rest, text.substr(20'010));
  EXPECT_TRUE(input.skip(0).value());
  EXPECT_FALSE(input.skip(1).value());
}

TEST(BufferedInput, CountsWhatItPassesOnWithoutACopy) {
  const std::string text = text_of(3 * BufferedInput::kBytes);
  test::TextInput source{text};
  BufferedInput input{source};
  std::string rest, part(2 * BufferedInput::kBytes, ' ');
  while (const std::size_t got = input.read(std::as_writable_bytes(std::span{part})).value())
    rest += part.substr(0, got);
  EXPECT_TRUE(rest == text);
  EXPECT_EQ(input.bytes_read(), text.size());
}

}  // namespace
}  // namespace stellarium::fs
