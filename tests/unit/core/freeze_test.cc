// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/core/harness.h"

namespace mrlease::core {
namespace {

struct Freezing : testing::Test, Harness {
  void policy(FreezeConflict conflict) {
    Policy p;
    p.freeze_conflict = conflict;
    arbiter.set_policy(p);
  }
  // Break 7 freezes and holds.
  void freeze(Extent extent = {}, Time hold = 0, SessionId owner = 0) {
    ask(7, BreakKind::Freeze, extent, hold, owner);
    for (const auto& r : std::vector(got<effect::Recall>())) answer(r);
    for (const auto& w : std::vector(got<effect::StartWork>())) work_done(w);
    ASSERT_EQ(ever<effect::BreakAnswered>().size(), 1u);
  }
};

TEST_F(Freezing, TheHoldEndsByItself) {
  grant(1, Backing::OdpTransparent);
  freeze({}, 700);
  EXPECT_EQ(arbiter.next_deadline(), now + 700);
  wait(699);
  EXPECT_TRUE(last.empty());
  wait(1);
  EXPECT_EQ(only<effect::Recall>().action, Action::Thaw);
  EXPECT_TRUE(none<effect::Thawed>());
  answer(only<effect::Recall>());
  EXPECT_TRUE(only<effect::Thawed>().expired);
  EXPECT_EQ(only<effect::Thawed>().request, 0u);
  EXPECT_TRUE(over(7));
  step(event::Thaw{7, 70});
  EXPECT_TRUE(only<effect::Thawed>().expired);
  EXPECT_EQ(only<effect::Thawed>().request, 70u);
}

TEST_F(Freezing, TheHoldIsBoundedByPolicy) {
  freeze({}, 10 * Policy{}.freeze_hold_max);
  EXPECT_EQ(arbiter.next_deadline(), now + Policy{}.freeze_hold_max);
  step(event::Thaw{7, 70});
  ask(8, BreakKind::Freeze);
  EXPECT_EQ(arbiter.next_deadline(), now + Policy{}.freeze_hold_max) << "0 is the longest";
}

TEST_F(Freezing, AThawThatIsAskedForIsAnsweredWhenItIsDone) {
  grant(1, Backing::OdpTransparent);
  freeze();
  step(event::Thaw{7, 70});
  const auto r = only<effect::Recall>();
  step(event::Thaw{7, 71});
  EXPECT_TRUE(last.empty());
  answer(r);
  const auto thawed = got<effect::Thawed>();
  ASSERT_EQ(thawed.size(), 2u);
  EXPECT_FALSE(thawed[0].expired);
  EXPECT_EQ(thawed[0].request, 70u);
  EXPECT_EQ(thawed[1].request, 71u);
  EXPECT_EQ(arbiter.next_deadline(), kNever);
}

TEST_F(Freezing, AThawDuringTheThawOfAnExpiredHoldSaysExpired) {
  grant(1, Backing::OdpTransparent);
  freeze({}, 100);
  wait(100);
  const auto r = only<effect::Recall>();
  step(event::Thaw{7, 70});
  answer(r);
  EXPECT_TRUE(only<effect::Thawed>().expired);
  EXPECT_EQ(only<effect::Thawed>().request, 70u);
}

TEST_F(Freezing, AThawWhileComplyingIsHonouredAsSoonAsItHolds) {
  grant(1, Backing::OdpTransparent);
  ask(7, BreakKind::Freeze);
  const auto r = only<effect::Recall>();
  step(event::Thaw{7, 70});
  EXPECT_TRUE(last.empty());
  answer(r);
  EXPECT_TRUE(answered(7));
  EXPECT_EQ(only<effect::Recall>().action, Action::Thaw);
}

TEST_F(Freezing, AnUnknownFreezeIsThawedAlready) {
  step(event::Thaw{77, 70});
  EXPECT_TRUE(only<effect::Thawed>().expired);
}

TEST_F(Freezing, WaitHoldsBackWhatConflictsAndLetsTheBackupReadOn) {
  grant(1, Backing::Bounce);
  freeze();
  truncate(8, 0);
  EXPECT_TRUE(last.empty());
  ask(9, BreakKind::Write, {0, kPg});
  EXPECT_TRUE(last.empty());
  ask(10, BreakKind::Read);
  EXPECT_TRUE(answered(10));
  EXPECT_TRUE(none<effect::StartWork>()) << "a flush would change the frozen file";
  ask(11, BreakKind::Sync);
  EXPECT_TRUE(last.empty()) << "what RDMA wrote is not in the file before the thaw: a sync must not claim it";
  step(event::Thaw{7, 70});
  work_done(only<effect::StartWork>());
  EXPECT_EQ(only<effect::Thawed>().request, 70u);
  EXPECT_EQ(only<effect::StartWork>().kind, Work::HoldFlush);
}

TEST_F(Freezing, ASyncWaitsForTheThawUnderEveryPolicyAndThenWrites) {
  policy(FreezeConflict::Allow);
  grant(1, Backing::Bounce);
  freeze();
  ask(8, BreakKind::Sync);
  EXPECT_TRUE(last.empty());
  step(event::Thaw{7, 70});
  work_done(only<effect::StartWork>());
  const auto sync = only<effect::StartWork>();
  EXPECT_EQ(sync.kind, Work::Fsync);
  EXPECT_EQ(sync.lease, 1u);
}

TEST_F(Freezing, WhatDoesNotOverlapRuns) {
  grant(1, Backing::Direct, {0, 4 * kPg});
  grant(2, Backing::Direct, {8 * kPg, kSize});
  freeze({0, 4 * kPg});
  ask(8, BreakKind::Destructive, {8 * kPg, 9 * kPg});
  EXPECT_EQ(only<effect::Recall>().lease, 2u);
}

TEST_F(Freezing, PolicyThawEndsTheFreezeThenRuns) {
  policy(FreezeConflict::Thaw);
  grant(1, Backing::OdpTransparent);
  freeze();
  truncate(8, kPg);
  const auto thaw = only<effect::Recall>();
  EXPECT_EQ(thaw.action, Action::Thaw);
  answer(thaw);
  EXPECT_TRUE(only<effect::Thawed>().expired);
  EXPECT_EQ(only<effect::Recall>().action, Action::Trim);
}

TEST_F(Freezing, PolicyAllowRunsAtOnceReportsAndKeepsTheFreeze) {
  policy(FreezeConflict::Allow);
  grant(1, Backing::OdpTransparent);
  freeze();
  truncate(8, kPg);
  EXPECT_EQ(got<effect::Report>().size(), 1u);
  EXPECT_EQ(only<effect::Recall>().action, Action::Trim);
  EXPECT_EQ(only<effect::Recall>().extent, (Extent{kPg, kSize}));
  answer(only<effect::Recall>());
  EXPECT_TRUE(answered(8));
  step(event::Thaw{7, 70});
  EXPECT_TRUE(last.empty()) << "no thaw while the truncate is under way";
  left(8, kPg);
  EXPECT_EQ(only<effect::Recall>().action, Action::Settle);
  answer(only<effect::Recall>());
  EXPECT_TRUE(over(8));
  EXPECT_EQ(only<effect::Recall>().action, Action::Thaw);
}

TEST_F(Freezing, PolicyAllowDoesNotResumeTheFlushOfAFrozenLease) {
  policy(FreezeConflict::Allow);
  grant(1, Backing::Bounce);
  freeze();
  truncate(8, kPg);
  EXPECT_EQ(only<effect::StartWork>().kind, Work::HoldFlush);
  work_done(only<effect::StartWork>());
  left(8, kPg);
  EXPECT_TRUE(none<effect::StartWork>());
  EXPECT_TRUE(over(8));
  EXPECT_EQ(arbiter.find(1)->on_file_end, kPg);
  step(event::Thaw{7, 70});
  EXPECT_EQ(only<effect::StartWork>().kind, Work::ResumeFlush);
}

// What was acknowledged is not in the file: it would be no copy of what was asked for.
TEST_F(Freezing, AFreezeWhoseFlushFailsDoesNotHold) {
  grant(1, Backing::Bounce);
  grant(2, Backing::OdpTransparent);
  ask(7, BreakKind::Freeze);
  answer(only<effect::Recall>());
  const auto flush = ever<effect::StartWork>().back();
  work_done(flush, ENOSPC);
  EXPECT_TRUE(answered(7, ENOSPC));
  EXPECT_TRUE(none<effect::Report>()) << "who asked hears of it";
  const auto resume = only<effect::StartWork>();
  const auto thaw = only<effect::Recall>();
  EXPECT_EQ(resume.kind, Work::ResumeFlush);
  EXPECT_EQ(thaw.action, Action::Thaw);
  answer(thaw);
  work_done(resume);
  EXPECT_TRUE(over(7));
  EXPECT_EQ(arbiter.next_deadline(), kNever);
  step(event::Thaw{7, 70});
  EXPECT_TRUE(only<effect::Thawed>().expired);
}

TEST_F(Freezing, AFreezeWhoseFlushTakesTooLongDoesNotHold) {
  grant(1, Backing::Bounce);
  ask(7, BreakKind::Freeze);
  const auto flush = only<effect::StartWork>();
  wait(Policy{}.work_deadline);
  EXPECT_TRUE(answered(7, ETIMEDOUT));
  work_done(flush);
  work_done(ever<effect::StartWork>().back());
  EXPECT_TRUE(over(7));
}

TEST_F(Freezing, TwoFreezesOfOneLeaseAreNotNested) {
  policy(FreezeConflict::Allow);
  grant(1, Backing::OdpTransparent);
  freeze({0, 4 * kPg});
  ask(8, BreakKind::Freeze, {8 * kPg, 9 * kPg});
  EXPECT_TRUE(last.empty());
  step(event::Thaw{7, 70});
  answer(only<effect::Recall>());
  EXPECT_EQ(only<effect::Recall>().action, Action::Freeze);
}

TEST_F(Freezing, ARevokeOfALeaseThatIsFrozenElsewhereWaitsForItsFlush) {
  grant(1, Backing::Bounce);
  freeze({0, 4 * kPg});
  ask(8, BreakKind::Revoke, {8 * kPg, 9 * kPg});
  EXPECT_TRUE(last.empty());
  step(event::Thaw{7, 70});
  work_done(only<effect::StartWork>());
  EXPECT_EQ(only<effect::Recall>().action, Action::Release);
}

TEST_F(Freezing, ItsSessionGoneItIsThawed) {
  grant(1, Backing::OdpTransparent);
  freeze({}, 0, 5);
  step(event::SessionGone{5});
  EXPECT_EQ(only<effect::Recall>().action, Action::Thaw);
}

TEST_F(Freezing, ItsSessionGoneWhileComplyingItIsThawedOnceItHolds) {
  grant(1, Backing::OdpTransparent);
  ask(7, BreakKind::Freeze, {}, 0, 5);
  const auto r = only<effect::Recall>();
  step(event::SessionGone{5});
  answer(r);
  EXPECT_TRUE(answered(7));
  EXPECT_EQ(only<effect::Recall>().action, Action::Thaw);
}

TEST_F(Freezing, AFrozenLeaseWhoseSessionGoesIsMergedAfterTheThaw) {
  grant(1, Backing::OdpTransparent);
  grant(2, Backing::Direct);
  freeze();
  step(event::SessionGone{1});
  step(event::SessionGone{2});
  EXPECT_TRUE(last.empty());
  EXPECT_TRUE(ever<effect::Forget>().empty());
  step(event::Thaw{7, 70});
  EXPECT_TRUE(none<effect::Recall>());
  EXPECT_TRUE(none<effect::Thawed>());
  const auto works = got<effect::StartWork>();
  ASSERT_EQ(works.size(), 2u);
  EXPECT_EQ(works[0].kind, Work::Flush);
  EXPECT_EQ(works[0].extent, (Extent{0, kSize}));
  work_done(works[0]);
  EXPECT_EQ(only<effect::Forget>().lease, works[0].lease);
  work_done(works[1]);
  EXPECT_EQ(only<effect::Forget>().lease, works[1].lease);
  EXPECT_EQ(only<effect::Thawed>().request, 70u);
}

TEST_F(Freezing, AFrozenLeaseThatIsReleasedIsMergedBeforeTheTruncateThatThaws) {
  policy(FreezeConflict::Thaw);
  grant(1, Backing::OdpTransparent);
  freeze();
  step(event::ReleaseLease{50, 1, 1});
  EXPECT_TRUE(last.empty());
  truncate(8, 0);
  const auto flush = only<effect::StartWork>();
  EXPECT_EQ(flush.kind, Work::Flush);
  EXPECT_TRUE(none<effect::BreakAnswered>());
  work_done(flush, EIO);
  EXPECT_EQ(only<effect::Released>().code, EIO);
  EXPECT_TRUE(over(7));
  EXPECT_TRUE(answered(8));
}

TEST_F(Freezing, TheMergeOfAFrozenLeaseThatEndedIsBounded) {
  policy(FreezeConflict::Thaw);
  grant(1, Backing::Direct);
  freeze();
  step(event::SessionGone{1});
  truncate(8, 0);
  wait(Policy{}.work_deadline);
  EXPECT_EQ(only<effect::Forget>().lease, 1u);
  EXPECT_TRUE(answered(8));
}

TEST_F(Freezing, ASessionThatGoesWhileComplyingOrThawingIsMergedOnceAndNeverWhileItHolds) {
  grant(1, Backing::OdpTransparent);
  grant(2, Backing::OdpTransparent);
  ask(7, BreakKind::Freeze);
  const auto asked = got<effect::Recall>();
  step(event::SessionGone{asked[0].session});
  EXPECT_TRUE(last.empty());
  answer(asked[1]);
  EXPECT_TRUE(answered(7));
  step(event::Thaw{7, 70});
  const auto first = only<effect::StartWork>();
  EXPECT_EQ(only<effect::Recall>().lease, asked[1].lease);
  step(event::SessionGone{asked[1].session});
  const auto second = only<effect::StartWork>();
  work_done(first);
  EXPECT_TRUE(none<effect::Thawed>());
  work_done(second);
  EXPECT_EQ(only<effect::Thawed>().request, 70u);
  EXPECT_EQ(ever<effect::StartWork>().size(), 2u);
  EXPECT_EQ(arbiter.leases(), 0u);
}

TEST_F(Freezing, AFrozenReaderIsForgottenAtOnce) {
  Lease reader = lease(1, Backing::OdpTransparent);
  reader.write = false;
  grant(reader);
  freeze();
  step(event::SessionGone{1});
  EXPECT_EQ(only<effect::Forget>().lease, 1u);
}

TEST_F(Freezing, AnOperationThatPolicyAllowsAsksNothingOfAFrozenLeaseThatEnded) {
  policy(FreezeConflict::Allow);
  grant(1, Backing::Direct);
  freeze();
  step(event::SessionGone{1});
  truncate(8, 0);
  EXPECT_TRUE(none<effect::Recall>());
  EXPECT_TRUE(answered(8));
}

TEST_F(Freezing, ABounceLeaseReleasedWhileFrozenFlushesAfterTheThaw) {
  grant(1, Backing::Bounce);
  freeze({}, 500);
  step(event::ReleaseLease{50, 1, 1});
  EXPECT_TRUE(last.empty());
  wait(500);
  work_done(only<effect::StartWork>());
  EXPECT_EQ(only<effect::StartWork>().kind, Work::Flush);
  work_done(only<effect::StartWork>());
  EXPECT_EQ(only<effect::Released>().code, 0);
}

TEST_F(Freezing, ARevokeThatPolicyAllowsEndsAFrozenBounceLeaseAtOnce) {
  policy(FreezeConflict::Allow);
  grant(1, Backing::Bounce);
  freeze();
  ask(8, BreakKind::Revoke);
  answer(only<effect::Recall>());
  work_done(only<effect::StartWork>());
  EXPECT_TRUE(answered(8));
  EXPECT_EQ(only<effect::Forget>().lease, 1u);
  step(event::Thaw{7, 70});
  EXPECT_TRUE(over(7));
}

TEST_F(Freezing, AClientThatDoesNotThawIsFenced) {
  grant(1, Backing::OdpTransparent);
  freeze({}, 100);
  wait(100);
  wait(Policy{}.recall_deadline);
  EXPECT_EQ(only<effect::StartFence>().lease, 1u);
  step(event::FenceDone{1, true});
  EXPECT_FALSE(over(7)) << "what it would have brought back the daemon does";
  work_done(only<effect::StartWork>());
  EXPECT_TRUE(over(7));
}

TEST_F(Freezing, AReaderIsNotAsked) {
  Lease reader = lease(1, Backing::OdpTransparent);
  reader.write = false;
  grant(reader);
  ask(7, BreakKind::Freeze);
  EXPECT_TRUE(none<effect::Recall>());
  EXPECT_TRUE(answered(7));
}

TEST_F(Freezing, ManyWaitingOperationsFollowInTheirOrder) {
  grant(1, Backing::Bounce);
  freeze();
  for (BreakId id = 10; id < 15; ++id) ask(id, BreakKind::Write, {0, kPg});
  step(event::Thaw{7, 70});
  work_done(only<effect::StartWork>());
  for (BreakId id = 10; id < 15; ++id) {
    work_done(only<effect::StartWork>());
    ASSERT_TRUE(answered(id));
    left(id, kSize);
    work_done(only<effect::StartWork>());
    ASSERT_TRUE(over(id));
  }
}

// What the store of a fenced lease holds changes the file: not before it is thawed, and then before anybody hears of the thaw.
struct FencedWhileFrozen : testing::Test, Harness {
  void fenced(Backing backing) {
    grant(1, backing);
    ask(5, BreakKind::Freeze, {kPg, 2 * kPg}, 5000, 9);
    answer(only<effect::Recall>());
    ASSERT_TRUE(answered(5));
    truncate(7, 4 * kPg);
    wait(Policy{}.recall_deadline);
    ASSERT_EQ(only<effect::StartFence>().lease, 1u);
    EXPECT_TRUE(arbiter.has_frozen_store(1));
    step(event::FenceDone{1, true});
    EXPECT_TRUE(none<effect::StartWork>());
    EXPECT_TRUE(answered(7)) << "it is out of the truncate's way";
    EXPECT_TRUE(arbiter.has_frozen_store(1));
    left(7, 4 * kPg);
    EXPECT_EQ(arbiter.find(1)->on_file_end, 4 * kPg) << "what comes to the file must not lie beyond its end";
  }
};

TEST_F(FencedWhileFrozen, ItsStoreIsWrittenAtTheThaw) {
  fenced(Backing::OdpTransparent);
  ask(8, BreakKind::Sync);
  EXPECT_TRUE(none<effect::StartWork>()) << "what lies in the store is not durable";
  step(event::Thaw{5, 50});
  const auto flush = only<effect::StartWork>();
  EXPECT_EQ(flush.kind, Work::Flush);
  EXPECT_EQ(flush.lease, 1u);
  EXPECT_TRUE(none<effect::Thawed>());
  work_done(flush);
  EXPECT_EQ(only<effect::Thawed>().freeze, 5u);
  EXPECT_EQ(only<effect::StartWork>().kind, Work::Fsync);
  EXPECT_FALSE(arbiter.has_frozen_store(1));
  step(event::ReleaseLease{10, 1, 1});
  EXPECT_EQ(only<effect::Released>().code, EKEYREVOKED);
}

TEST_F(FencedWhileFrozen, AlsoWhereItsSessionGoesMeanwhile) {
  fenced(Backing::Direct);
  step(event::SessionGone{1});
  EXPECT_TRUE(none<effect::Forget>());
  step(event::Thaw{5, 50});
  work_done(only<effect::StartWork>());
  EXPECT_EQ(only<effect::Forget>().lease, 1u);
  EXPECT_EQ(only<effect::Thawed>().freeze, 5u);
  EXPECT_EQ(arbiter.next_deadline(), kNever);
}

TEST_F(FencedWhileFrozen, AReleaseOfItWaitsForTheThaw) {
  fenced(Backing::OdpCooperative);
  step(event::ReleaseLease{10, 1, 1});
  EXPECT_TRUE(none<effect::Released>());
  step(event::Thaw{5, 50});
  work_done(only<effect::StartWork>());
  EXPECT_EQ(only<effect::Released>().code, EKEYREVOKED);
}

}  // namespace
}  // namespace mrlease::core
