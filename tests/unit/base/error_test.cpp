#include "base/error.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "base/result.h"

namespace stellarium {
namespace {

Result<int> inner() {
  return fail(Errc::corrupt, "frame 7 is short");
}
Result<int> outer() {
  Result<int> value = inner();
  if (!value) return fail(value.error(), "reading chunk ab");
  return value;
}

TEST(Error, GathersContextOnItsWayUp) {
  const Result<int> value = outer();
  ASSERT_FALSE(value);
  EXPECT_EQ(value.error().code, Errc::corrupt);
  EXPECT_EQ(to_string(value.error()), "reading chunk ab: frame 7 is short");
}

TEST(Error, KeepsTheErrnoOfTheFailedCall) {
  const Result<void> full = fail_errno("writing", ENOSPC);
  EXPECT_EQ(full.error().code, Errc::out_of_space);
  EXPECT_EQ(errno_of(full.error()), ENOSPC);
  EXPECT_EQ(errno_of(Error{errc_from_errno(EFBIG), "", EFBIG}), EFBIG);
  EXPECT_EQ(errno_of(Error{errc_from_errno(ETXTBSY), "", ETXTBSY}), ETXTBSY);
  EXPECT_EQ(to_string(full.error()), "writing: No space left on device");
}

TEST(Error, NeverShowsDamageAsAnythingButEIO) {
  EXPECT_EQ(errno_of(Error{Errc::corrupt, "", ENOENT}), EIO);
}

}  // namespace
}  // namespace stellarium
