// SPDX-License-Identifier: Apache-2.0
#include "daemon/guard/leaving.h"

#include <gtest/gtest.h>

namespace mrlease::guard {
namespace {

TaskView held_in(long number) {
  TaskView view;
  view.tid = 7;
  view.stat = sys::TaskStat{'S', 0, 100, 50, 12345};
  view.call = sys::SyscallState{};
  view.call->number = number;
  view.call->args = {3, 4096};
  view.call->sp = 0x7ffc00000000;
  view.call->pc = 0x7fff00000000;
  return view;
}

TaskView running(TaskView view, std::uint64_t user, std::uint64_t system) {
  view.call = sys::SyscallState{true};
  view.stat->utime += user;
  view.stat->stime += system;
  return view;
}

TEST(HasLeft, TheSameCallIsStillInside) { EXPECT_FALSE(has_left(held_in(77), held_in(77))); }

TEST(HasLeft, AnotherCallOrOtherArgumentsOrPlace) {
  EXPECT_TRUE(has_left(held_in(77), held_in(0)));
  TaskView other = held_in(77);
  other.call->args[1] = 8192;
  EXPECT_TRUE(has_left(held_in(77), other));
  other = held_in(77);
  other.call->pc += 2;
  EXPECT_TRUE(has_left(held_in(77), other));
}

TEST(HasLeft, GoneZombieOrReusedNumber) {
  TaskView gone;
  EXPECT_TRUE(has_left(held_in(77), gone));
  TaskView zombie = held_in(77);
  zombie.stat->state = 'Z';
  EXPECT_TRUE(has_left(held_in(77), zombie));
  TaskView stranger = held_in(77);
  stranger.stat->start++;
  EXPECT_TRUE(has_left(held_in(77), stranger));
}

TEST(HasLeft, RunningIsInsideUntilMuchUserTimePassed) {
  EXPECT_FALSE(has_left(held_in(77), running(held_in(77), 0, 0)));
  EXPECT_FALSE(has_left(held_in(77), running(held_in(77), 1, 0)));
  EXPECT_FALSE(has_left(held_in(77), running(held_in(77), 5, 90)));  // a long call: time is split by samples
  EXPECT_TRUE(has_left(held_in(77), running(held_in(77), 5, 0)));
}

TEST(HasLeft, AWorkerIsOutWhenItSleepsForWork) {
  TaskView worker = held_in(0);
  worker.stat->flags = 0x10;
  worker.wchan = "fanotify_handle_event";
  TaskView now = worker;
  now.call->number = 1;  // made up anyway
  EXPECT_FALSE(has_left(worker, now));
  now.wchan = "io_wq_worker";
  EXPECT_TRUE(has_left(worker, now));
}

TEST(HasLeft, AHiddenTaskIsInsideUntilItEnds) {
  TaskView hidden;
  hidden.tid = 7;
  EXPECT_FALSE(has_left(hidden, held_in(77)));
  EXPECT_TRUE(has_left(hidden, hidden));
}

TEST(LookInterval, BacksOff) {
  EXPECT_EQ(look_interval(0), std::chrono::microseconds(200));
  EXPECT_EQ(look_interval(1), std::chrono::milliseconds(1));
  EXPECT_EQ(look_interval(4), std::chrono::milliseconds(100));
  EXPECT_EQ(look_interval(400), std::chrono::milliseconds(100));
}

}  // namespace
}  // namespace mrlease::guard
