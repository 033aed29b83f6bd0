#include "fs/quota_records.h"

#include <gtest/gtest.h>

#include "support/fs_layers.h"
#include "support/golden.h"
#include "support/image_store.h"

namespace stellarium::fs {
namespace {

using test::must;

TEST(QuotaRecords, AreReadAsTheyWereWritten) {
  for (const QuotaRecord& record : {QuotaRecord{1, 0}, QuotaRecord{UINT64_MAX, UINT32_MAX}, QuotaRecord{300, 77}})
    EXPECT_EQ(must(decode_quota(encode_quota(record))), record);
}

TEST(QuotaRecords, AreTheSameForEver) {
  std::string text;
  for (const QuotaRecord& record : {QuotaRecord{1u << 20, 0}, QuotaRecord{1u << 30, 0x4000'0001}}) {
    text += "quota ";
    for (const char byte : encode_quota(record)) {
      constexpr char kDigits[] = "0123456789abcdef";
      text += {kDigits[static_cast<unsigned char>(byte) >> 4], kDigits[static_cast<unsigned char>(byte) & 15]};
    }
    text += '\n';
  }
  EXPECT_EQ(text, test::golden_or_write("quota-records-v1.txt", text));
}

TEST(QuotaRecords, RefuseWhatNobodyWrites) {
  const std::string good = encode_quota({1u << 30, 0x4000'0001});
  for (std::size_t size = 0; size < good.size(); ++size)
    EXPECT_EQ(decode_quota(good.substr(0, size)).error().code, Errc::corrupt) << size;
  EXPECT_EQ(decode_quota(good + '\0').error().code, Errc::corrupt);
  EXPECT_EQ(decode_quota(std::string{"\0\0", 2}).error().code, Errc::corrupt) << "a limit of nothing";
  EXPECT_EQ(decode_quota(std::string{"\x01\x80\x80\x80\x80\x10", 6}).error().code, Errc::corrupt) << "2^32";
}

TEST(QuotaRecords, FollowTheNameOfTheirClone) {
  const test::TempDir dir;
  const auto database = test::open_database(dir / "db");
  const auto change = [&](const std::function<void(cas::Database::Batch&)>& how) {
    cas::Database::Batch batch;
    how(batch);
    must(database->write(std::move(batch), cas::Database::Sync::no));
  };
  change([](auto& batch) { put_quota(batch, "a", QuotaRecord{5, 9}); });
  EXPECT_TRUE(must(is_project_taken(*database, 9)));
  change([&](auto& batch) { must(move_quota(*database, batch, "a", "b")); });
  change([&](auto& batch) { must(move_quota(*database, batch, "none", "c")); });
  EXPECT_FALSE(must(read_quota(*database, "a")));
  EXPECT_FALSE(must(read_quota(*database, "c")));
  EXPECT_EQ(must(read_quota(*database, "b")), (QuotaRecord{5, 9}));
  change([](auto& batch) { put_quota(batch, "b", std::nullopt); });
  EXPECT_FALSE(must(read_quota(*database, "b")));
  EXPECT_FALSE(must(is_project_taken(*database, 9)));
}

}  // namespace
}  // namespace stellarium::fs
