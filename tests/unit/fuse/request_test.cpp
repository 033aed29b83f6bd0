#include "fs/fuse/request.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "support/fuse_messages.h"

namespace stellarium::fs::fuse {
namespace {

using test::bytes_of;
using test::make_request;

Arguments arguments_of(const std::string& bytes) {
  return Arguments{as_bytes(bytes)};
}

TEST(Request, TakesAWellFormedMessageApart) {
  const std::string message = make_request(abi::Opcode::lookup, 7, 9 | abi::kResentBit, "etc");
  const auto request = Request::parse(as_bytes(message));
  ASSERT_TRUE(request);
  EXPECT_EQ(request->opcode(), abi::Opcode::lookup);
  EXPECT_EQ(request->node(), NodeId{7});
  EXPECT_EQ(request->id(), 9u);
  EXPECT_TRUE(request->resent());
  EXPECT_EQ(as_text(request->arguments()), "etc");
}

TEST(Request, RefusesEveryMessageThatIsShorterThanAHeader) {
  const std::string message = make_request(abi::Opcode::getattr, 1, 2);
  for (std::size_t size = 0; size < sizeof(abi::InHeader); ++size) {
    EXPECT_FALSE(Request::parse(as_bytes(message).first(size))) << size;
  }
}

TEST(Request, RefusesALengthThatIsNotTheMessages) {
  for (const std::uint32_t length : {0u, 39u, 40u, 42u, 44u, 0xffffffffu}) {
    std::string message = make_request(abi::Opcode::lookup, 1, 2, "ab\0");
    store_le(message.data(), length);
    EXPECT_EQ(Request::parse(as_bytes(message)).has_value(), length == message.size()) << length;
  }
}

TEST(Request, RefusesExtensionsThatExceedTheBody) {
  std::string message = make_request(abi::Opcode::lookup, 1, 2, "12345678");
  store_le<std::uint16_t>(message.data() + offsetof(abi::InHeader, extension_units), 2);
  EXPECT_FALSE(Request::parse(as_bytes(message)));
  store_le<std::uint16_t>(message.data() + offsetof(abi::InHeader, extension_units), 1);
  const auto request = Request::parse(as_bytes(message));
  ASSERT_TRUE(request);
  EXPECT_TRUE(request->arguments().empty());
}

TEST(Arguments, FailOnceAndForAllWhereAStructureDoesNotFit) {
  const std::string enough(sizeof(abi::OpenIn) + 100, '\0'), too_short(sizeof(abi::OpenIn) - 1, '\0');
  Arguments cut = arguments_of(too_short);
  cut.fixed<abi::OpenIn>();
  EXPECT_EQ(cut.error(), EINVAL);
  EXPECT_EQ(cut.name(), "");
  EXPECT_EQ(cut.error(), EINVAL);
  Arguments whole = arguments_of(enough);
  whole.fixed<abi::OpenIn>();
  EXPECT_EQ(whole.error(), 0);
}

TEST(Arguments, NamesEndWithNulAndAreOneComponent) {
  EXPECT_EQ(arguments_of(std::string("etc\0", 4)).name(), "etc");
  struct Case {
    std::string bytes;
    int error;
  };
  for (const Case& bad : {Case{"", EINVAL}, Case{std::string(1, '\0'), EINVAL}, Case{"etc", EINVAL},
                          Case{std::string("a/b\0", 4), EINVAL}, Case{std::string("/\0", 2), EINVAL},
                          Case{std::string(256, 'n') + '\0', ENAMETOOLONG}}) {
    Arguments arguments = arguments_of(bad.bytes);
    EXPECT_EQ(arguments.name(), "");
    EXPECT_EQ(arguments.error(), bad.error);
  }
  const std::string longest = std::string(255, 'n') + '\0';
  EXPECT_EQ(arguments_of(longest).name().size(), 255u);
}

TEST(Arguments, TheSecondOfTwoNamesNeedsItsNulToo) {
  const std::string bytes = std::string("old\0", 4) + "new";
  Arguments arguments = arguments_of(bytes);
  EXPECT_EQ(arguments.name(), "old");
  EXPECT_EQ(arguments.error(), 0);
  EXPECT_EQ(arguments.name(), "");
  EXPECT_EQ(arguments.error(), EINVAL);
}

}  // namespace
}  // namespace stellarium::fs::fuse
