// SPDX-License-Identifier: Apache-2.0
#include "tests/vm/load/stall.h"

#include <gtest/gtest.h>

namespace mrlease::load {
namespace {

constexpr std::uint64_t kMs = 1'000'000;

TEST(StallTest, TheLongestCounts) {
  Stall stall;
  stall.turn(1000 * kMs);
  stall.begin(1000 * kMs);
  for (std::uint64_t at = 1010; at <= 1300; at += 10) stall.goes_on(at * kMs);
  EXPECT_EQ(stall.longest(), 300 * kMs);
  stall.begin(1300 * kMs);
  EXPECT_EQ(stall.goes_on(1310 * kMs), 10 * kMs);
  EXPECT_EQ(stall.longest(), 300 * kMs);
  EXPECT_EQ(stall.away(), 0u);
}

TEST(StallTest, TimeInWhichThisThreadDidNotRunIsNotTheLeases) {
  Stall stall;
  stall.turn(1000 * kMs);
  stall.begin(1000 * kMs);
  stall.goes_on(1010 * kMs);
  stall.goes_on(1300 * kMs);
  EXPECT_EQ(stall.away(), 290 * kMs - Stall::kTurn);
  EXPECT_EQ(stall.longest(), 10 * kMs + Stall::kTurn);
  stall.begin(1300 * kMs);  // what was missed before counts for nothing now
  stall.goes_on(1310 * kMs);
  stall.goes_on(1320 * kMs);
  EXPECT_EQ(stall.goes_on(1340 * kMs), 40 * kMs);
}

TEST(StallTest, ItBeginsWithinATurn) {
  Stall stall;
  stall.turn(1000 * kMs);
  stall.begin(1005 * kMs);
  EXPECT_EQ(stall.goes_on(1019 * kMs), 14 * kMs);
}

}  // namespace
}  // namespace mrlease::load
