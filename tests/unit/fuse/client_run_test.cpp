#include "fs/fuse/client_run.h"

#include <gtest/gtest.h>

namespace stellarium::fs::fuse {
namespace {

TEST(ClientRun, AThreadIsAloneAfterSomeRequestsInARow) {
  ClientRun run;
  for (unsigned i = 1; i < ClientRun::kAlone; ++i) run.received(7);
  EXPECT_FALSE(run.alone());
  run.received(7);
  EXPECT_TRUE(run.alone());
}

TEST(ClientRun, ASecondThreadEndsTheRun) {
  ClientRun run;
  for (unsigned i = 0; i < 2 * ClientRun::kAlone; ++i) run.received(7 + i % 2);
  EXPECT_FALSE(run.alone());
}

TEST(ClientRun, RequestsOfNobodyDoNotCount) {
  ClientRun run;
  for (unsigned i = 0; i < ClientRun::kAlone; ++i) {
    run.received(7);
    run.received(0);
  }
  EXPECT_TRUE(run.alone());
}

}  // namespace
}  // namespace stellarium::fs::fuse
