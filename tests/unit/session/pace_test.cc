// SPDX-License-Identifier: Apache-2.0
#include "daemon/session/pace.h"

#include <gtest/gtest.h>

namespace mrlease::session {
namespace {

constexpr std::uint64_t kSecond = 1000000, kRate = 100;

unsigned taken_at(Pace* pace, std::uint64_t now, std::uint64_t rate = kRate) {
  unsigned taken = 0;
  for (; pace->wait(now, rate) == 0; ++taken) pace->take(now, rate);
  return taken;
}

TEST(Pace, ASecondIsSavedUpAndNoMore) {
  Pace pace;
  EXPECT_EQ(taken_at(&pace, 5 * kSecond), kRate);
  EXPECT_EQ(taken_at(&pace, 5 * kSecond), 0u);
  EXPECT_EQ(taken_at(&pace, 5 * kSecond + kSecond / 2), kRate / 2);
  EXPECT_EQ(taken_at(&pace, 60 * kSecond), kRate);
}

TEST(Pace, TheWaitIsUntilOneMoreMayBeTaken) {
  Pace pace;
  taken_at(&pace, 0);
  const std::uint64_t wait = pace.wait(0, kRate);
  EXPECT_EQ(wait, kSecond / kRate);
  EXPECT_GT(pace.wait(wait - 1, kRate), 0u);
  EXPECT_EQ(pace.wait(wait, kRate), 0u);
}

TEST(Pace, IdleIsLikeNew) {
  Pace pace;
  EXPECT_TRUE(pace.idle(0));
  taken_at(&pace, 0);
  EXPECT_FALSE(pace.idle(kSecond - 1));
  EXPECT_TRUE(pace.idle(kSecond));
}

TEST(Pace, ANewLimitIsForWhatComesNext) {
  Pace pace;
  taken_at(&pace, 0);
  EXPECT_EQ(taken_at(&pace, kSecond / 10, 10 * kRate), 10 * kRate / 10);
}

TEST(Pace, ALimitBeyondOneInAMicrosecondIsOne) {
  Pace pace;
  EXPECT_EQ(taken_at(&pace, 0, 1ull << 60), kSecond);
}

}  // namespace
}  // namespace mrlease::session
