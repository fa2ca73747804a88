// SPDX-License-Identifier: Apache-2.0
#include "daemon/core/timers.h"

#include <gtest/gtest.h>

namespace mrlease::core {
namespace {

TEST(Timers, ComeByTimeAndStayTakenOut) {
  Timers timers;
  EXPECT_EQ(timers.earliest(), kNever);
  timers.set({Timer::Kind::Hold, 1}, 30);
  timers.set({Timer::Kind::Work, 2}, 10);
  timers.set({Timer::Kind::Recall, 2}, 20);
  EXPECT_EQ(timers.earliest(), 10u);
  EXPECT_FALSE(timers.pop(9));
  EXPECT_EQ(timers.pop(100)->kind, Timer::Kind::Work);
  EXPECT_EQ(timers.pop(100)->kind, Timer::Kind::Recall);
  EXPECT_EQ(timers.pop(100)->kind, Timer::Kind::Hold);
  EXPECT_FALSE(timers.pop(100));
}

TEST(Timers, SettingAgainReplacesAndCancellingForgets) {
  Timers timers;
  timers.set({Timer::Kind::Work, 1}, 10);
  timers.set({Timer::Kind::Work, 1}, 50);
  EXPECT_EQ(timers.earliest(), 50u);
  timers.cancel({Timer::Kind::Work, 1});
  timers.cancel({Timer::Kind::Work, 1});
  EXPECT_EQ(timers.earliest(), kNever);
  EXPECT_FALSE(timers.pop(kNever));
}

TEST(Timers, NeverStaysNever) {
  EXPECT_EQ(after(5, kNever), kNever);
  EXPECT_EQ(after(kNever - 2, 10), kNever);
  EXPECT_EQ(after(5, 10), 15u);
  Timers timers;
  timers.set({Timer::Kind::Work, 1}, kNever);
  EXPECT_EQ(timers.earliest(), kNever);
  EXPECT_FALSE(timers.pop(kNever));
}

}  // namespace
}  // namespace mrlease::core
