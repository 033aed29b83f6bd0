#include "base/io.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "support/random_bytes.h"
#include "support/temp_dir.h"

namespace stellarium {
namespace {

TEST(Io, WritesPartsBehindEachOther) {
  const test::TempDir folder;
  auto file = system_io().open(AT_FDCWD, (folder / "file").string(), O_RDWR | O_CREAT, 0600);
  ASSERT_TRUE(file);
  const std::vector<std::byte> bytes = test::random_bytes(/*seed=*/1, 100'000);
  for (const std::size_t size : {1u, 30u, 4096u, 100'000u}) {  // the first is more parts than one call takes
    std::vector<ByteSpan> parts;
    for (std::size_t at = 0; at < bytes.size(); at += size)
      parts.push_back(ByteSpan{bytes}.subspan(at, std::min(size, bytes.size() - at)));
    ASSERT_TRUE(system_io().truncate(file->get(), 0));
    ASSERT_TRUE(system_io().write_parts_at(file->get(), parts, 7));
    std::vector<std::byte> read(bytes.size() + 1);
    EXPECT_EQ(system_io().read_at(file->get(), read, 7).value(), bytes.size());
    read.pop_back();
    EXPECT_EQ(read, bytes) << size;
  }
}

}  // namespace
}  // namespace stellarium
