#include "base/mapped_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <utility>

#include "base/io.h"
#include "support/temp_dir.h"

namespace stellarium {
namespace {

TEST(MappedFile, ShowsWhatTheFileHoldsAfterItsDescriptorIsClosed) {
  const test::TempDir folder;
  MappedFile moved;
  {
    const auto file = system_io().open(AT_FDCWD, (folder / "file").string(), O_RDWR | O_CREAT, 0600);
    ASSERT_TRUE(file);
    ASSERT_TRUE(system_io().write_at(file->get(), as_bytes("content"), 0));
    auto mapped = MappedFile::of(file->get(), 4);
    ASSERT_TRUE(mapped);
    moved = std::move(*mapped);
    EXPECT_TRUE(mapped->bytes().empty());
  }
  EXPECT_EQ(as_text(moved.bytes()), "cont");
}

TEST(MappedFile, IsEmptyForNothingAndFailsWhereThereIsNoFile) {
  EXPECT_TRUE(MappedFile::of(-1, 0)->bytes().empty());
  EXPECT_FALSE(MappedFile::of(-1, 1));
}

}  // namespace
}  // namespace stellarium
