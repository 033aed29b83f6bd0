#include "fs/places.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "base/unique_fd.h"
#include "support/image_store.h"
#include "support/temp_dir.h"

namespace stellarium::fs {
namespace {

using test::must;

class PlacesTest : public testing::Test {
 protected:
  void put(std::uint64_t place) {
    const std::string bytes(kPlace, 'f');
    ASSERT_EQ(::pwrite(fd_.get(), bytes.data(), bytes.size(), static_cast<off_t>(place * kPlace)),
              static_cast<ssize_t>(bytes.size()));
  }
  std::string read(std::uint64_t offset, std::size_t size) {
    std::string out(size, '?');
    must(read_over(fd_.get(), offset, std::as_writable_bytes(std::span{out}), below_));
    return out;
  }

  test::TempDir dir_;
  UniqueFd fd_{::open((dir_ / "file").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
  const ReadBelow below_ = [](std::uint64_t, MutableByteSpan out) -> Result<void> {
    std::ranges::fill(out, std::byte{'b'});
    return {};
  };
};

TEST_F(PlacesTest, WhatIsThereHidesWhatIsBelow) {
  put(1);
  put(3);
  const std::string file(kPlace, 'f'), below(kPlace, 'b');
  EXPECT_EQ(read(0, 5 * kPlace), below + file + below + file + below);
  EXPECT_EQ(read(2 * kPlace - 1, 2), "fb");
}

TEST_F(PlacesTest, RunsEndWhereHolesDoAndAtTheSize) {
  put(1);
  const auto first = must(run_at(fd_.get(), 10, 3 * kPlace)), second = must(run_at(fd_.get(), kPlace, 3 * kPlace)),
             last = must(run_at(fd_.get(), 2 * kPlace, 3 * kPlace));
  EXPECT_FALSE(first.there);
  EXPECT_EQ(first.end, kPlace);
  EXPECT_TRUE(second.there);
  EXPECT_EQ(second.end, 2 * kPlace);
  EXPECT_FALSE(last.there);
  EXPECT_EQ(last.end, 3 * kPlace);
}

TEST_F(PlacesTest, BytesAreJoinedToWholePlacesOnlyWhereTheyAreNot) {
  const std::string data(kPlace + 10, 'd');
  const auto joined = must(whole_places(kPlace - 5, as_bytes(data), UINT64_MAX, below_));
  EXPECT_EQ(joined.offset, 0u);
  EXPECT_EQ(as_text(joined.bytes), std::string(kPlace - 5, 'b') + data + std::string(kPlace - 5, 'b'));
  const std::string whole(2 * kPlace, 'd');
  const auto same = must(whole_places(kPlace, as_bytes(whole), UINT64_MAX, below_));
  EXPECT_EQ(same.offset, kPlace);
  EXPECT_EQ(same.bytes.data(), as_bytes(whole).data()) << "nothing is copied";
}

TEST_F(PlacesTest, TheLastPlaceEndsWithTheFile) {
  const std::string data(10, 'd');
  const auto joined = must(whole_places(100, as_bytes(data), 105, below_));
  EXPECT_EQ(as_text(joined.bytes), std::string(100, 'b') + data) << "the data may reach behind it";
  EXPECT_EQ(must(whole_places(100, as_bytes(data), 200, below_)).bytes.size(), 200u);
}

}  // namespace
}  // namespace stellarium::fs
