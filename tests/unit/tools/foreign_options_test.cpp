#include "tools/cli/foreign_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tools/cli/virtiofsd_words.h"

namespace stellarium::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string refusal_of(const std::vector<std::string>& given) {
  const auto meaning = read_foreign(given);
  return meaning ? "" : meaning.error().context;
}

TEST(ForeignOptions, AreSorted) {
  EXPECT_TRUE(std::ranges::is_sorted(foreign_options(), {}, &ForeignOption::name));
}

TEST(ForeignOptions, AreIgnoredIfNothingIsLost) {
  const auto meaning = read_foreign({"cache=always", "xattr", "o=source=web,cache=none,no_posix_lock,log_level=info"});
  ASSERT_TRUE(meaning);
  EXPECT_EQ(meaning->shared_dir, "web");
  EXPECT_THAT(meaning->ignored,
              ElementsAre("--cache=always", "--xattr", "-o cache=none", "-o no_posix_lock", "-o log_level=info"));
}

TEST(ForeignOptions, AreRefusedByNameIfTheyCannotBeKept) {
  EXPECT_THAT(refusal_of({"uid-map=:0:100:1:"}), HasSubstr("--uid-map=:0:100:1: cannot be: owners are stored"));
  EXPECT_THAT(refusal_of({"o=xattr,xattrmap=:map::user.:"}), HasSubstr("-o xattrmap=:map::user.: cannot be"));
  EXPECT_THAT(refusal_of({"o=security_label"}), HasSubstr("-o security_label cannot be"));
  EXPECT_EQ(refusal_of({"o=no_security_label"}), "");
  EXPECT_THAT(refusal_of({"o=writebakc"}), HasSubstr("-o writebakc is not known"));
}

std::string complaint_about(const VirtiofsdOptions& given) {
  std::vector<std::string> ignored;
  const auto plain = plain_virtiofsd(given, ignored);
  return plain ? "" : plain.error().context;
}

TEST(Virtiofsd, TakesItsImageFromWhereOthersHaveTheirFolder) {
  std::vector<std::string> ignored;
  EXPECT_EQ(plain_virtiofsd({.socket_path = "s", .shared_dir = "web"}, ignored)->ref, "web");
  EXPECT_EQ(plain_virtiofsd({.fd = 3, .foreign = {"o=source=debian:12"}}, ignored)->ref, "debian:12");
  EXPECT_EQ(plain_virtiofsd({.ref = "web", .socket_path = "s"}, ignored)->ref, "web");
}

TEST(Virtiofsd, SaysWhatIsMissingOrTooMuch) {
  EXPECT_THAT(complaint_about({.socket_path = "s"}), HasSubstr("name an image or a clone"));
  EXPECT_THAT(complaint_about({.socket_path = "s", .shared_dir = "/srv"}), HasSubstr("/srv: folders are not shared"));
  EXPECT_THAT(complaint_about({.ref = "a", .socket_path = "s", .shared_dir = "b"}), HasSubstr("both a and b"));
  EXPECT_THAT(complaint_about({.ref = "a"}), HasSubstr("--socket-path or --fd"));
  EXPECT_THAT(complaint_about({.ref = "a", .socket_path = "s", .fd = 3}), HasSubstr("one of them"));
  EXPECT_THAT(complaint_about({.ref = "a", .fd = 3, .socket_group = "kvm"}), HasSubstr("name --socket-path"));
}

TEST(Virtiofsd, TellsTheServerWhatConcernsIt) {
  const auto words = virtiofsd_words({.ref = "web", .socket_path = "s", .dax_window = "0", .readonly = true, .fd = 3});
  EXPECT_THAT(words, ElementsAre("--socket-path", "s", "--request-queues", "1", "--dax-window", "0",
                                 "--shmem-feature-bit", "22", "--readonly", "--", "web"));
}

TEST(Virtiofsd, IsAlsoTheNameOfTheProgram) {
  EXPECT_TRUE(is_virtiofsd("/usr/libexec/stellarium/virtiofsd"));
  EXPECT_TRUE(is_virtiofsd("virtiofsd"));
  EXPECT_FALSE(is_virtiofsd("/virtiofsd/stellarium"));
}

}  // namespace
}  // namespace stellarium::cli
