// SPDX-License-Identifier: Apache-2.0
// An operation that does not leave: nobody waits for it, and what it has got out of its way stays there.
#include "tests/unit/core/harness.h"

namespace mrlease::core {
namespace {

struct Overdue : testing::Test, Harness {
  // Truncate 7 to `size` is inside and does not leave.
  void stick(std::uint64_t size) {
    truncate(7, size);
    for (const auto& r : std::vector(got<effect::Recall>())) answer(r);
    for (const auto& w : std::vector(got<effect::StartWork>())) work_done(w);
    ASSERT_EQ(only<effect::WatchPassing>().id, 7u);
    wait(Policy{}.passing_bound);
    ASSERT_EQ(got<effect::Report>().size(), 1u);
  }
};

TEST_F(Overdue, WhoWaitedIsServedAtTheBound) {
  grant(1, Backing::Direct);
  truncate(7, 0);
  answer(only<effect::Recall>());
  truncate(8, 0);
  EXPECT_TRUE(last.empty());
  wait(Policy{}.passing_bound);
  EXPECT_TRUE(answered(8)) << "the lease is out of the way already";
  EXPECT_TRUE(none<effect::Recall>());
  left(8, 0);
  EXPECT_TRUE(over(8));
  EXPECT_TRUE(none<effect::Recall>()) << "7 is still inside";
  left(7, 0);
  EXPECT_EQ(only<effect::Recall>().action, Action::Reregister);
  answer(only<effect::Recall>());
  EXPECT_TRUE(over(7));
  EXPECT_EQ(arbiter.next_deadline(), kNever);
}

// Whether the truncate has done its work already nobody can tell: the collapse may cut from where it has left the end.
TEST_F(Overdue, ACollapseCutsFromWhereAnOverdueTruncateLeavesTheEnd) {
  grant(1, Backing::OdpTransparent);
  stick(kSize - 2 * kPg);
  step(event::RequestBreak{8, kFile, BreakKind::Destructive, {kPg, kToEnd}, kSize - 2 * kPg, 0, 0, true, 0, true, 2 * kPg});
  EXPECT_EQ(only<effect::Recall>().action, Action::Trim);
  EXPECT_EQ(only<effect::Recall>().extent, (Extent{kSize - 4 * kPg, kSize - 2 * kPg}));
}

TEST_F(Overdue, LeavingFirstItGivesNothingBackUnderTheLaterOne) {
  grant(1, Backing::Direct);
  stick(0);
  truncate(8, 0);
  ASSERT_TRUE(answered(8));
  left(7, 0);
  EXPECT_TRUE(last.empty()) << "its turn comes when the line is free";
  wait(Policy{}.passing_bound);
  EXPECT_TRUE(over(7));
  EXPECT_TRUE(none<effect::Recall>()) << "8 has not left either";
  left(8, 0);
  EXPECT_EQ(only<effect::Recall>().action, Action::Reregister);
  answer(only<effect::Recall>());
  EXPECT_TRUE(over(8));
}

TEST_F(Overdue, ALaterOneThatCutsMoreAsksForTheRestAndAllIsSettledTogether) {
  grant(1, Backing::OdpTransparent);
  stick(8 * kPg);
  truncate(8, 4 * kPg);
  const auto trim = only<effect::Recall>();
  EXPECT_EQ(trim.action, Action::Trim);
  EXPECT_EQ(trim.extent, (Extent{4 * kPg, 8 * kPg}));
  answer(trim);
  ASSERT_TRUE(answered(8));
  left(8, 4 * kPg);
  EXPECT_TRUE(over(8));
  EXPECT_TRUE(none<effect::Recall>());
  left(7, 4 * kPg);
  const auto settles = got<effect::Recall>();
  ASSERT_EQ(settles.size(), 2u);
  EXPECT_EQ(settles[0].extent, (Extent{8 * kPg, kSize}));
  EXPECT_EQ(settles[1].extent, (Extent{4 * kPg, 8 * kPg}));
  for (const auto& r : settles) EXPECT_EQ(r.action, Action::Settle);
  answer(settles[0]);
  answer(settles[1]);
  EXPECT_TRUE(over(7));
}

TEST_F(Overdue, AHeldFlushStaysHeldAndReadsGoOn) {
  grant(1, Backing::Bounce);
  stick(kPg);
  ask(8, BreakKind::Read);
  EXPECT_TRUE(answered(8));
  EXPECT_TRUE(none<effect::StartWork>()) << "a flush would write behind the truncate";
  truncate(9, 0);
  ASSERT_TRUE(answered(9));
  left(9, 0);
  EXPECT_TRUE(over(9));
  EXPECT_TRUE(none<effect::StartWork>());
  left(7, 0);
  EXPECT_EQ(only<effect::StartWork>().kind, Work::ResumeFlush);
}

// What may cut the file and may write it too (a worker of io_uring's, a collapse): flushed before, merged after, and no flush in between.
TEST_F(Overdue, NothingIsFlushedUnderWhatMakesTheFileShorter) {
  grant(1, Backing::Bounce);
  step(event::RequestBreak{7, kFile, BreakKind::Destructive, {kPg, kToEnd}, kPg, 0, 0, true, 0, true});
  EXPECT_EQ(only<effect::StartWork>().kind, Work::Flush);
  work_done(only<effect::StartWork>());
  wait(Policy{}.passing_bound);
  ask(8, BreakKind::Read);
  EXPECT_TRUE(answered(8));
  EXPECT_TRUE(none<effect::StartWork>()) << "a flush would bring the old end back";
  ask(9, BreakKind::Sync, {}, 0, 5);
  EXPECT_TRUE(answered(9, EBUSY));
  left(7, kPg);
  EXPECT_EQ(only<effect::StartWork>().kind, Work::Merge);
  work_done(only<effect::StartWork>());
  EXPECT_TRUE(over(7));
}

// A write that does not end must not keep the pages beyond a new end.
TEST_F(Overdue, WhatIsCutUnderAnOverdueWriteIsCutAtOnce) {
  grant(1, Backing::Bounce);
  ask(7, BreakKind::Write, {0, kPg});
  work_done(only<effect::StartWork>());
  wait(Policy{}.passing_bound);
  step(event::RequestBreak{8, kFile, BreakKind::Destructive, {kPg, kToEnd}, kPg, 0, 0, true, 0, true});
  work_done(only<effect::StartWork>());
  left(8, kPg);
  EXPECT_EQ(only<effect::StartWork>().kind, Work::Merge);
  work_done(only<effect::StartWork>());
  EXPECT_TRUE(over(8));
}

TEST_F(Overdue, LeasesThatItDoesNotHaveAreServedAndRestored) {
  grant(1, Backing::Direct, {8 * kPg, kSize});
  stick(8 * kPg);
  step(event::OperationLeft{99, 0});
  grant(2, Backing::Direct, {0, 4 * kPg});
  ask(8, BreakKind::Destructive, {0, kPg});
  EXPECT_EQ(only<effect::Recall>().lease, 2u);
  answer(only<effect::Recall>());
  left(7, kSize);
  EXPECT_TRUE(last.empty()) << "8 has the line";
  left(8, kSize);
  EXPECT_EQ(only<effect::Recall>().lease, 2u);
  answer(only<effect::Recall>());
  EXPECT_TRUE(over(8));
  EXPECT_EQ(only<effect::Recall>().lease, 1u);
}

TEST_F(Overdue, WhatTheApiAsksOfItsLeasesIsRefused) {
  grant(1, Backing::Bounce);
  stick(kPg);
  ask(8, BreakKind::Freeze, {}, 0, 5);
  EXPECT_TRUE(answered(8, EBUSY));
  EXPECT_TRUE(over(8));
  ask(9, BreakKind::Revoke);
  EXPECT_TRUE(answered(9, EBUSY));
  ask(10, BreakKind::Sync, {}, 0, 5);
  EXPECT_TRUE(answered(10, EBUSY));
  EXPECT_TRUE(none<effect::StartWork>());
}

// A foreign write holds nothing back from the file, but it may have inherited a flush that is held.
TEST_F(Overdue, ASyncIsNotSaidToBeDurableWhileAnInheritedFlushIsHeld) {
  grant(1, Backing::Bounce);
  ask(7, BreakKind::Write, {0, kPg});
  work_done(only<effect::StartWork>());
  wait(Policy{}.passing_bound);
  truncate(8, kPg);
  work_done(only<effect::StartWork>());
  EXPECT_TRUE(answered(8));
  left(8, kSize);  // it failed: its ResumeFlush is 7's to give now
  ASSERT_TRUE(over(8));
  ask(9, BreakKind::Sync, {}, 0, 5);
  EXPECT_TRUE(answered(9, EBUSY));
  EXPECT_TRUE(none<effect::StartWork>());
}

// The thaw waits for an operation that may never end; whoever waits for the thaw must not.
TEST_F(Overdue, ASyncOfWhatCannotBeThawedIsRefused) {
  Policy allow;
  allow.freeze_conflict = FreezeConflict::Allow;
  arbiter.set_policy(allow);
  grant(1, Backing::Bounce);
  ask(5, BreakKind::Freeze, {}, 3000, 9);
  work_done(only<effect::StartWork>());
  ASSERT_TRUE(answered(5));
  ask(7, BreakKind::Write, {0, kPg});
  ASSERT_EQ(only<effect::WatchPassing>().id, 7u);
  wait(allow.passing_bound);
  ask(8, BreakKind::Sync, {}, 0, 9);
  EXPECT_TRUE(none<effect::BreakAnswered>()) << "it holds still";
  wait(3000);
  EXPECT_TRUE(answered(8, EBUSY));
  left(7, kSize);
  work_done(only<effect::StartWork>());
  EXPECT_EQ(only<effect::StartWork>().kind, Work::ResumeFlush) << "the thaw";
}

TEST_F(Overdue, AThawWaitsForItAndTheOthersDoNot) {
  Policy p;
  p.freeze_conflict = FreezeConflict::Allow;
  arbiter.set_policy(p);
  grant(1, Backing::OdpTransparent);
  ask(6, BreakKind::Freeze);
  answer(only<effect::Recall>());
  stick(kPg);
  p.freeze_conflict = FreezeConflict::Thaw;
  arbiter.set_policy(p);
  truncate(8, 0);
  EXPECT_EQ(only<effect::Recall>().action, Action::Trim);
  answer(only<effect::Recall>());
  EXPECT_TRUE(answered(8));
  left(8, 0);
  EXPECT_TRUE(none<effect::Recall>());
  left(7, 0);
  for (const auto& r : std::vector(got<effect::Recall>())) {
    EXPECT_EQ(r.action, Action::Settle);
    answer(r);
  }
  EXPECT_EQ(only<effect::Recall>().action, Action::Thaw);
}

TEST_F(Overdue, AFileThatHasGrownBackIsNotGivenBack) {
  grant(1, Backing::OdpTransparent);
  stick(8 * kPg);
  truncate(8, 8 * kPg);
  left(7, 8 * kPg);  // cuts the lease at once; its turn comes after 8
  left(8, kSize);    // and somebody has made the file longer
  EXPECT_EQ(only<effect::Recall>().action, Action::Settle);
  EXPECT_EQ(only<effect::Recall>().size, 8 * kPg) << "no break would recall what lies there";
}

TEST_F(Overdue, TheNewestSizeIsTold) {
  grant(1, Backing::Direct);
  stick(4 * kPg);
  truncate(8, 2 * kPg);
  left(7, 4 * kPg);
  left(8, 2 * kPg);
  EXPECT_EQ(only<effect::Recall>().size, 2 * kPg);
}

}  // namespace
}  // namespace mrlease::core
