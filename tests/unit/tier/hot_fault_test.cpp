// One call of the hot folder fails, then the next, until a run ends without reaching it: reads never notice.
#include <gtest/gtest.h>

#include <cerrno>

#include "support/fault_io.h"
#include "support/sanitized.h"
#include "unit/tier/tier_fixture.h"

namespace stellarium::tier {
namespace {

using testing::make_hot;
using testing::read_all;
using testing::read_fd;
using testing::same_bytes;

struct Fault {
  int sys_errno;
  bool forever;
};

class HotFaultTest : public ::testing::TestWithParam<Fault> {
 protected:
  /// Opens, fills, pins, reads, closes. Only opening may fail; the bytes may never be wrong.
  void use(Io& io, const std::filesystem::path& folder) {
    Result<std::unique_ptr<Tier>> opened =
        Tier::open(store_, io, folder, {.hot_budget = 8u << 20, .frame_budget = 1u << 20});
    if (!opened) return;
    Tier& tier = **opened;
    for (std::size_t i = 0; i < contents_.size(); ++i) {
      const auto file = make_hot(tier, contents_[i]);
      if (file) {
        EXPECT_TRUE(same_bytes(read_fd((*file)->fd(), bytes_[i].size()), bytes_[i]));
      }
      const auto read = read_all(tier, contents_[i], 300'000);
      ASSERT_TRUE(read) << to_string(read.error());
      EXPECT_TRUE(same_bytes(*read, bytes_[i]));
    }
    (void)tier.pin(contents_[0]);
    tier.evict(contents_[1].id);
    EXPECT_LE(tier.stats().hot_bytes, 8u << 20);
  }

  testing::MemoryStore store_;
  std::vector<std::vector<std::byte>> bytes_{test::random_bytes(1, 1000), test::random_bytes(2, 60'000),
                                             test::random_bytes(3, 1'500'000)};
  std::vector<ContentRef> contents_{store_.add(bytes_[0]), store_.add(bytes_[1]), store_.add(bytes_[2])};
};

TEST_P(HotFaultTest, NoFailedCallChangesWhatIsReadNowOrLater) {
  for (std::uint64_t call = 0;; call += test::kStep) {
    const test::TempDir folder;
    test::FaultIo io;
    io.fail_at(call, GetParam().sys_errno, GetParam().forever);
    use(io, folder / "hot");
    use(io, folder / "hot");  // what the failure left behind, with the disk working again or not
    const bool reached = io.reached();
    const auto tier = Tier::open(store_, system_io(), folder / "hot", {.hot_budget = 8u << 20});
    ASSERT_TRUE(tier) << to_string(tier.error());
    for (std::size_t i = 0; i < contents_.size(); ++i) {
      const auto file = make_hot(**tier, contents_[i]);
      ASSERT_TRUE(file) << to_string(file.error());
      EXPECT_TRUE(same_bytes(read_fd((*file)->fd(), bytes_[i].size()), bytes_[i]));
    }
    if (HasFailure()) FAIL() << "at call " << call << ", " << io.calls()[call];
    if (!reached) break;
    ASSERT_LT(call, 500u);
  }
}

INSTANTIATE_TEST_SUITE_P(Errors, HotFaultTest,
                         ::testing::Values(Fault{ENOSPC, false}, Fault{ENOSPC, true}, Fault{EIO, false},
                                           Fault{EIO, true}),
                         [](const auto& parameter) {
                           return std::string{parameter.param.sys_errno == ENOSPC ? "DiskFull" : "Io"} +
                                  (parameter.param.forever ? "ForGood" : "Once");
                         });

}  // namespace
}  // namespace stellarium::tier
