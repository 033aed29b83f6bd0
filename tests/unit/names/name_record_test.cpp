#include "cdn/name_record.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "support/golden.h"
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

TEST_F(Names, ARecordOfTheFirstVersionIsReadForEver) {
  // The first key of RFC 8032, section 7.1: everybody knows its secret half.
  std::ofstream{dir_ / "key"}
      << "stellarium-secret-key 1 9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60\n";
  ::chmod((dir_ / "key").c_str(), 0600);
  const SigningKey key = SigningKey::load(dir_ / "key").value();
  EXPECT_EQ(key.public_key().text(), "ed25519:d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
  const std::string text = sign_name(record(), key);
  EXPECT_EQ(test::golden_or_write("name-record-v1.txt", text), text);
  EXPECT_TRUE(parse_name(text));
}

TEST_F(Names, ARecordOfAnotherVersionIsRefusedByName) {
  std::string text = sign_name(record(), make_key("key"));
  text[text.find('1')] = '2';
  const auto parsed = parse_name(text);
  ASSERT_FALSE(parsed);
  EXPECT_EQ(parsed.error().code, Errc::version);
  EXPECT_THAT(parsed.error().context, HasSubstr("version 2, this program knows 1"));
}

TEST_F(Names, ARevisionThatCannotBeFollowedIsRefused) {
  NameRecord last = record();
  const SigningKey key = make_key("key");
  last.revision = kMaxRevision;
  EXPECT_TRUE(parse_name(sign_name(last, key)));
  for (const std::uint64_t revision : {std::uint64_t{0}, kMaxRevision + 1, ~std::uint64_t{0}}) {
    last.revision = revision;
    EXPECT_FALSE(parse_name(sign_name(last, key))) << revision;
  }
}

TEST_F(Names, ARecordThatWasSignedInAnotherFormIsRefused) {
  const SigningKey key = make_key("key");
  std::string name_of_two_lines = "debian:12\nmanifest: ";
  NameRecord odd = record();
  odd.name = name_of_two_lines;
  EXPECT_FALSE(parse_name(sign_name(odd, key)));
  odd = record();
  odd.repository = "";
  EXPECT_FALSE(parse_name(sign_name(odd, key)));
  odd.repository = "../x";
  EXPECT_FALSE(parse_name(sign_name(odd, key)));
  odd = record();
  odd.name = std::string(kMaxNameRecord, 'n');
  EXPECT_FALSE(parse_name(sign_name(odd, key)));
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
