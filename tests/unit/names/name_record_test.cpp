#include "cdn/name_record.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "support/temp_dir.h"

namespace stellarium::cdn {
namespace {

using testing::HasSubstr;

class Names : public testing::Test {
 protected:
  SigningKey make_key(const std::string& name) { return SigningKey::create(dir_ / name).value(); }
  NameRecord record() const {
    return {.repository = "example",
            .name = "debian:12",
            .manifest = cas::hash_of(as_bytes("m")),
            .revision = 7,
            .not_before = 1000,
            .expires = 2000,
            .key = {}};
  }
  test::TempDir dir_;
};

TEST_F(Names, ARecordComesBackAsItWasSigned) {
  const SigningKey key = make_key("key");
  const std::string text = sign_name(record(), key);
  const auto parsed = parse_name(text);
  ASSERT_TRUE(parsed);
  NameRecord expected = record();
  expected.key = key.public_key();
  EXPECT_EQ(*parsed, expected);
}

TEST_F(Names, NoByteOfARecordCanBeChanged) {
  const std::string text = sign_name(record(), make_key("key"));
  for (std::size_t at = 0; at < text.size(); ++at) {
    for (const char other : {'0', '\n', ' ', static_cast<char>(text[at] ^ 1)}) {
      std::string changed = text;
      changed[at] = other;
      if (changed == text) continue;
      EXPECT_FALSE(parse_name(changed)) << at;
    }
    EXPECT_FALSE(parse_name(text.substr(0, at)));
  }
  EXPECT_FALSE(parse_name(text + "\n"));
  EXPECT_FALSE(parse_name(""));
}

TEST_F(Names, AKeyIsKeptInItsFileAndForItsOwner) {
  const PublicKey made = make_key("key").public_key();
  EXPECT_EQ(SigningKey::load(dir_ / "key").value().public_key(), made);
  EXPECT_EQ(PublicKey::from_text(made.text()), made);
  EXPECT_EQ(SigningKey::create(dir_ / "key").error().code, Errc::exists);
  ::chmod((dir_ / "key").c_str(), 0640);
  EXPECT_EQ(SigningKey::load(dir_ / "key").error().code, Errc::permission);
  std::filesystem::resize_file(dir_ / "key", 40);
  ::chmod((dir_ / "key").c_str(), 0600);
  EXPECT_EQ(SigningKey::load(dir_ / "key").error().code, Errc::corrupt);
}

TEST_F(Names, AnOlderRevisionIsRefused) {
  const NameRecord now = record();
  EXPECT_TRUE(check_name(now, "example", "debian:12", {7, now.manifest}, 1500));
  EXPECT_TRUE(check_name(now, "", "debian:12", {6, cas::hash_of(as_bytes("old"))}, 1500));
  EXPECT_THAT(check_name(now, "", "debian:12", {8, now.manifest}, 1500).error().context, HasSubstr("older than 8"));
  EXPECT_THAT(check_name(now, "", "debian:12", {7, cas::hash_of(as_bytes("old"))}, 1500).error().context,
              HasSubstr("another manifest"));
}

TEST_F(Names, ARecordCountsWhereAndWhenItSays) {
  const NameRecord now = record();
  EXPECT_FALSE(check_name(now, "other", "debian:12", {}, 1500));
  EXPECT_FALSE(check_name(now, "example", "debian:13", {}, 1500));
  EXPECT_FALSE(check_name(now, "example", "debian:12", {}, 999));
  EXPECT_FALSE(check_name(now, "example", "debian:12", {}, 2000));
  NameRecord forever = now;
  forever.expires = 0;
  EXPECT_TRUE(check_name(forever, "example", "debian:12", {}, 1'000'000'000'000));
}

}  // namespace
}  // namespace stellarium::cdn
