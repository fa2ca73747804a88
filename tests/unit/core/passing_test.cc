// SPDX-License-Identifier: Apache-2.0
// Allowed is not finished.
#include "tests/unit/core/harness.h"

namespace mrlease::core {
namespace {

struct Passing : testing::Test, Harness {
  // A truncate to `size` that has been allowed.
  void allow(std::uint64_t size) {
    truncate(7, size);
    for (const auto& r : got<effect::Recall>()) answer(r);
    ASSERT_TRUE(answered(7));
    ASSERT_EQ(only<effect::WatchPassing>().id, 7u);
  }
};

TEST_F(Passing, TheSizeFoundAfterwardsIsWhatTheClientIsTold) {
  grant(1, Backing::Direct);
  allow(4 * kPg);
  left(7, 3 * kPg);
  const auto r = only<effect::Recall>();
  EXPECT_EQ(r.action, Action::Reregister);
  EXPECT_EQ(r.size, 3 * kPg);
  EXPECT_EQ(arbiter.find(1)->on_file_end, 3 * kPg);
  EXPECT_FALSE(over(7));
  answer(r);
  EXPECT_TRUE(over(7));
}

TEST_F(Passing, AFailedOperationCutsNothing) {
  grant(1, Backing::OdpTransparent);
  allow(4 * kPg);
  left(7, 20 * kPg);
  EXPECT_EQ(only<effect::Recall>().action, Action::Settle);
  EXPECT_EQ(only<effect::Recall>().size, 20 * kPg);
  EXPECT_EQ(arbiter.find(1)->on_file_end, kSize);
}

TEST_F(Passing, ALeaseBeyondTheEndKeepsNothing) {
  grant(1, Backing::Bounce, {8 * kPg, kSize});
  truncate(7, 0);
  work_done(only<effect::StartWork>());
  left(7, 0);
  EXPECT_EQ(arbiter.find(1)->on_file_end, 8 * kPg);
  work_done(only<effect::StartWork>());
  truncate(8, 0);  // nothing of it is on the file any more
  EXPECT_TRUE(none<effect::StartWork>());
  EXPECT_TRUE(answered(8));
}

TEST_F(Passing, AnOverrunIsReportedOnceAndTheRangeStaysRevoked) {
  grant(1, Backing::Direct);
  allow(0);
  EXPECT_EQ(arbiter.next_deadline(), now + Policy{}.passing_bound);
  wait(Policy{}.passing_bound - 1);
  EXPECT_TRUE(none<effect::Report>());
  wait(1);
  EXPECT_EQ(got<effect::Report>().size(), 1u);
  wait(1'000'000);
  EXPECT_TRUE(last.empty());
  EXPECT_EQ(arbiter.next_deadline(), kNever);
  left(7, 0);
  EXPECT_EQ(only<effect::Recall>().action, Action::Reregister);
}

TEST_F(Passing, ATaskKilledWhileItWasHeldStillGetsOneAnswer) {
  grant(1, Backing::Direct);
  truncate(7, 0);
  const auto recall = only<effect::Recall>();
  left(7, kSize);
  EXPECT_TRUE(last.empty());
  answer(recall);
  EXPECT_TRUE(answered(7));
  EXPECT_TRUE(none<effect::WatchPassing>());
  EXPECT_EQ(only<effect::Recall>().action, Action::Reregister);
  EXPECT_EQ(only<effect::Recall>().size, kSize);
}

TEST_F(Passing, ACollapseShrinksWhatADirectLeaseRegistersAgain) {
  grant(1, Backing::Direct);
  ask(7, BreakKind::Destructive, {0, kPg});
  answer(only<effect::Recall>());
  left(7, 15 * kPg);
  EXPECT_EQ(only<effect::Recall>().size, 15 * kPg);
  EXPECT_EQ(arbiter.find(1)->on_file_end, 15 * kPg);
}

TEST_F(Passing, LeavingIsHeardOnce) {
  grant(1, Backing::Direct);
  allow(0);
  left(7, 0);
  const auto r = only<effect::Recall>();
  left(7, 0);
  EXPECT_TRUE(last.empty());
  answer(r);
  EXPECT_TRUE(over(7));
  left(7, 0);
  EXPECT_TRUE(last.empty());
}

TEST_F(Passing, ACollapseTakesTheEndAwayFromOnDemandPages) {
  grant(1, Backing::OdpCooperative);
  step(event::RequestBreak{7, kFile, BreakKind::Destructive, {kPg, kToEnd}, kSize - 2 * kPg, 0, 0, true, 0, true});
  const auto trim = only<effect::Recall>();
  EXPECT_EQ(trim.action, Action::Trim);
  EXPECT_EQ(trim.extent, (Extent{kSize - 2 * kPg, kSize})) << "what moves stays on the file";
  EXPECT_FALSE(answered(7));
  answer(trim);
  EXPECT_TRUE(answered(7));
  left(7, kSize - 2 * kPg);
  const auto settle = only<effect::Recall>();
  EXPECT_EQ(settle.action, Action::Settle);
  EXPECT_EQ(settle.size, kSize - 2 * kPg);
  EXPECT_EQ(arbiter.find(1)->on_file_end, kSize - 2 * kPg);
  answer(settle);
  EXPECT_TRUE(over(7));
}

TEST_F(Passing, ACollapseBehindALeaseAsksNothingOfOnDemandPages) {
  grant(1, Backing::OdpTransparent);
  step(event::RequestBreak{7, kFile, BreakKind::Destructive, {kPg, kToEnd}, kSize, 0, 0, true, 0, true});  // the file was longer than the lease
  EXPECT_TRUE(none<effect::Recall>());
  EXPECT_TRUE(answered(7));
}

// Two collapses of one file, each asked for when the file ended at kSize: the second cuts from where the first has left the end.
TEST_F(Passing, ACollapseBehindAnotherOneCutsFromWhereThatHasLeftTheEnd) {
  grant(1, Backing::OdpCooperative);
  const auto collapse = [&](BreakId id) {
    step(event::RequestBreak{id, kFile, BreakKind::Destructive, {kPg, kToEnd}, kSize - 2 * kPg, 0, 0, true, 0, true, 2 * kPg});
  };
  collapse(7);
  const auto first = only<effect::Recall>();
  EXPECT_EQ(first.extent, (Extent{kSize - 2 * kPg, kSize}));
  collapse(8);
  answer(first);
  left(7, kSize - 2 * kPg);
  answer(only<effect::Recall>());  // its settle
  EXPECT_TRUE(over(7));
  EXPECT_FALSE(answered(8));
  const auto second = only<effect::Recall>();
  EXPECT_EQ(second.action, Action::Trim);
  EXPECT_EQ(second.extent, (Extent{kSize - 4 * kPg, kSize - 2 * kPg}));
}

// Bounce pages: all that was acknowledged is in the file before, and what the file has become is taken over afterwards.
TEST_F(Passing, AnOpenForWritingMayTakeAllOfTheFile) {
  grant(1, Backing::Bounce);
  step(event::RequestBreak{7, kFile, BreakKind::Destructive, {}, 0, 0, 0, false, 0, true});
  EXPECT_EQ(only<effect::StartWork>().kind, Work::Flush);
  work_done(only<effect::StartWork>());
  EXPECT_TRUE(answered(7));
  left(7, 2 * kPg);
  EXPECT_EQ(only<effect::StartWork>().kind, Work::Merge);
  EXPECT_EQ(arbiter.find(1)->on_file_end, 2 * kPg);
  work_done(only<effect::StartWork>());
  EXPECT_TRUE(over(7));
}

TEST_F(Passing, AnOpenForWritingTakesAllOnDemandPagesAway) {
  grant(1, Backing::OdpTransparent);
  step(event::RequestBreak{7, kFile, BreakKind::Destructive, {}, 0, 0, 0, false, 0, true});
  const auto trim = only<effect::Recall>();
  EXPECT_EQ(trim.action, Action::Trim);
  EXPECT_EQ(trim.extent, (Extent{0, kSize}));
  answer(trim);
  left(7, kSize);
  EXPECT_EQ(only<effect::Recall>().action, Action::Settle);
  EXPECT_EQ(arbiter.find(1)->on_file_end, kSize);
}

TEST_F(Passing, WorkThatFailsIsReportedAndTheBreakGoesOn) {
  grant(1, Backing::Bounce);
  ask(7, BreakKind::Write, {0, kPg});
  work_done(only<effect::StartWork>(), EIO);
  EXPECT_EQ(got<effect::Report>().size(), 1u);
  EXPECT_TRUE(answered(7));
}

TEST_F(Passing, WorkThatOverrunsIsReportedAndTheBreakGoesOn) {
  grant(1, Backing::Bounce);
  truncate(7, 0);
  const auto hold = only<effect::StartWork>();
  wait(Policy{}.work_deadline);
  EXPECT_EQ(got<effect::Report>().size(), 1u);
  EXPECT_TRUE(answered(7));
  work_done(hold);
  EXPECT_TRUE(last.empty());
  left(7, 0);
  wait(Policy{}.work_deadline);
  EXPECT_TRUE(over(7));
}

}  // namespace
}  // namespace mrlease::core
