// SPDX-License-Identifier: Apache-2.0
// Policy Deny: the foreign operation gets EBUSY, and whoever had complied gets back what it gave.
#include "tests/unit/core/harness.h"

namespace mrlease::core {
namespace {

Policy deny() {
  Policy p;
  p.on_timeout = OnTimeout::Deny;
  return p;
}

struct Deny : testing::Test, Harness {
  Deny() : Harness(deny()) {}
  const Policy p = deny();
};

TEST_F(Deny, WhoHadCompliedIsRestoredAndTheLateOneAfterItsAnswer) {
  grant(1, Backing::Direct);
  grant(2, Backing::OdpTransparent);
  truncate(7, kPg);
  const auto recalls = got<effect::Recall>();
  answer(recalls[0]);
  wait(p.recall_deadline);
  EXPECT_TRUE(answered(7, EBUSY));
  EXPECT_EQ(only<effect::WatchPassing>().id, 7u);
  EXPECT_TRUE(none<effect::StartFence>());
  left(7, kSize);
  const auto back = only<effect::Recall>();
  EXPECT_EQ(back.lease, 1u);
  EXPECT_EQ(back.action, Action::Reregister);
  answer(back);
  EXPECT_TRUE(over(7));
  EXPECT_EQ(arbiter.find(2)->on_file_end, kSize);

  wait(5000);
  EXPECT_TRUE(last.empty());
  answer(recalls[1]);
  const auto settle = only<effect::Recall>();
  EXPECT_EQ(settle.lease, 2u);
  EXPECT_EQ(settle.action, Action::Settle);
  EXPECT_EQ(settle.size, kSize);
  EXPECT_EQ(settle.extent, recalls[1].extent);
  answer(settle);
  EXPECT_EQ(arbiter.next_deadline(), kNever);
  EXPECT_EQ(ever<effect::BreakAnswered>().size(), 1u);
}

TEST_F(Deny, AnAnswerBetweenDenialAndLeavingIsRestoredWithTheRest) {
  grant(1, Backing::Direct);
  truncate(7, kPg);
  const auto r = only<effect::Recall>();
  wait(p.recall_deadline);
  ASSERT_TRUE(answered(7, EBUSY));
  answer(r);
  EXPECT_TRUE(last.empty());
  left(7, kSize);
  EXPECT_EQ(only<effect::Recall>().action, Action::Reregister);
  answer(only<effect::Recall>());
  EXPECT_TRUE(over(7));
}

TEST_F(Deny, WhatTheGuardCannotRefuseIsFencedFor) {
  grant(1, Backing::Direct);
  event::RequestBreak b{7, kFile, BreakKind::Truncate, {0, kToEnd}};
  b.deniable = false;
  step(b);
  wait(p.recall_deadline);
  EXPECT_TRUE(none<effect::BreakAnswered>());
  EXPECT_FALSE(only<effect::StartFence>().kill);
  step(event::FenceDone{1, true});
  EXPECT_TRUE(answered(7));
}

TEST_F(Deny, ARefusalDeniesAndIsOwedNothing) {
  grant(1, Backing::Direct);
  truncate(7, kPg);
  answer(only<effect::Recall>(), EIO);
  EXPECT_TRUE(answered(7, EBUSY));
  left(7, kSize);
  EXPECT_TRUE(over(7));
  EXPECT_TRUE(none<effect::Recall>());
  EXPECT_TRUE(ever<effect::StartFence>().empty());
}

TEST_F(Deny, WhatFollowsALateAnswerIsForcedAfterAll) {
  grant(1, Backing::Direct);
  truncate(7, kPg);
  const auto r = only<effect::Recall>();
  wait(p.recall_deadline);
  left(7, kSize);
  ASSERT_TRUE(over(7));
  answer(r);
  ASSERT_EQ(only<effect::Recall>().action, Action::Reregister);
  wait(p.recall_deadline);
  EXPECT_EQ(only<effect::StartFence>().lease, 1u);
}

TEST_F(Deny, ALateAnswerWaitsForTheNextBreakThatHasTheLease) {
  grant(1, Backing::Direct);
  truncate(7, kPg);
  const auto late = only<effect::Recall>();
  wait(p.recall_deadline);
  left(7, kSize);
  ask(8, BreakKind::Destructive);
  const auto quiesce = only<effect::Recall>();
  answer(late);
  EXPECT_TRUE(none<effect::Recall>()) << "registering again now would put the device back under break 8";
  answer(quiesce);
  EXPECT_TRUE(answered(8));
  EXPECT_TRUE(none<effect::Recall>());
  left(8, kSize);
  answer(only<effect::Recall>());
  EXPECT_TRUE(over(8));
  EXPECT_EQ(only<effect::Recall>().action, Action::Reregister);
}

TEST_F(Deny, ALateOneGetsBackNoMoreThanALaterBreakWouldRecall) {
  grant(1, Backing::Direct);
  truncate(7, 4 * kPg);
  answer(only<effect::Recall>());
  left(7, 4 * kPg);
  answer(only<effect::Recall>());
  ask(8, BreakKind::Destructive, {0, kPg});
  const auto late = only<effect::Recall>();
  wait(p.recall_deadline);
  left(8, kSize);  // somebody has made the file longer; the lease was not extended
  EXPECT_TRUE(over(8));
  truncate(9, 8 * kPg);
  EXPECT_TRUE(answered(9));
  EXPECT_EQ(only<effect::WatchPassing>().id, 9u);
  EXPECT_TRUE(none<effect::Recall>()) << "nothing of the lease is there";
  answer(late);
  EXPECT_EQ(only<effect::Recall>().action, Action::Reregister);
  EXPECT_EQ(only<effect::Recall>().size, 4 * kPg) << "more would put the device under break 9";
}

TEST_F(Deny, WhatALateOneIsOwedIsCutByTheBreakThatItWaitedFor) {
  grant(1, Backing::OdpTransparent);
  truncate(7, 8 * kPg);
  const auto late = only<effect::Recall>();
  wait(p.recall_deadline);
  left(7, kSize);
  truncate(8, 4 * kPg);
  const auto trim = only<effect::Recall>();
  answer(late);
  answer(trim);
  ASSERT_TRUE(answered(8));
  left(8, 4 * kPg);
  answer(only<effect::Recall>());
  EXPECT_TRUE(over(8));
  EXPECT_EQ(only<effect::Recall>().action, Action::Settle);
  EXPECT_EQ(only<effect::Recall>().size, 4 * kPg) << "7 was denied at 16 pages; the file ends at 4 now";
}

TEST_F(Deny, AFreezeIsUndoneWithoutAnOperation) {
  grant(1, Backing::OdpTransparent);
  grant(2, Backing::OdpTransparent);
  ask(7, BreakKind::Freeze, {}, 0, 9);
  const auto recalls = got<effect::Recall>();
  answer(recalls[0]);
  step(event::Thaw{7, 70});
  wait(p.recall_deadline);
  EXPECT_TRUE(answered(7, EBUSY));
  EXPECT_TRUE(none<effect::WatchPassing>());
  const auto thaw = only<effect::Recall>();
  EXPECT_EQ(thaw.lease, 1u);
  EXPECT_EQ(thaw.action, Action::Thaw);
  answer(thaw);
  EXPECT_TRUE(over(7));
  EXPECT_EQ(only<effect::Thawed>().request, 70u);
  EXPECT_TRUE(only<effect::Thawed>().expired);
  answer(recalls[1]);
  EXPECT_EQ(only<effect::Recall>().action, Action::Thaw);
}

TEST_F(Deny, ARevokeIsDeniedAndALateReleaseStillEndsTheLease) {
  grant(1, Backing::Bounce);
  ask(7, BreakKind::Revoke);
  const auto r = only<effect::Recall>();
  wait(p.recall_deadline);
  EXPECT_TRUE(answered(7, EBUSY));
  EXPECT_TRUE(over(7));
  answer(r);
  work_done(only<effect::StartWork>());
  EXPECT_EQ(only<effect::Forget>().lease, 1u);
}

TEST_F(Deny, ALateReleaseDoesNotWriteIntoAFileFrozenMeanwhile) {
  grant(1, Backing::Bounce);
  ask(7, BreakKind::Revoke);
  const auto r = only<effect::Recall>();
  wait(p.recall_deadline);
  ask(8, BreakKind::Freeze);
  work_done(only<effect::StartWork>());
  answer(r);
  EXPECT_TRUE(last.empty());
  step(event::Thaw{8, 80});
  work_done(only<effect::StartWork>());
  EXPECT_EQ(only<effect::StartWork>().kind, Work::Flush);
}

TEST_F(Deny, WhatIsOwedToALateOneEndsWithItsLease) {
  grant(1, Backing::Direct);
  truncate(7, kPg);
  const auto first = only<effect::Recall>();
  wait(p.recall_deadline);
  left(7, kSize);
  ASSERT_TRUE(over(7));
  ask(8, BreakKind::Destructive);
  answer(first);  // its re-registration waits for break 8
  wait(p.recall_deadline);
  ASSERT_TRUE(answered(8, EBUSY));
  step(event::SessionGone{1});
  EXPECT_EQ(only<effect::Forget>().lease, 1u);
  EXPECT_TRUE(none<effect::Recall>());
  left(8, kSize);
  EXPECT_EQ(arbiter.next_deadline(), kNever);
}

TEST_F(Deny, ASyncIsDenied) {
  grant(1, Backing::Direct);
  ask(7, BreakKind::Sync);
  const auto r = only<effect::Recall>();
  wait(p.recall_deadline);
  EXPECT_TRUE(answered(7, EBUSY));
  EXPECT_TRUE(over(7));
  answer(r);
  EXPECT_TRUE(last.empty());
}

// What a late one has written since it complied lies in its store, of which an fsync knows nothing.
struct SyncAfterDenial : Deny {
  effect::Recall late() {
    ask(7, BreakKind::Freeze);
    const auto freeze = only<effect::Recall>();
    wait(p.recall_deadline);
    EXPECT_TRUE(answered(7, EBUSY));
    EXPECT_TRUE(over(7));
    return freeze;
  }
  bool syncs() const {
    const auto w = got<effect::StartWork>();
    return w.size() == 1 && w[0].kind == Work::Fsync;
  }
};

TEST_F(SyncAfterDenial, WaitsForTheStoreToComeBack) {
  grant(1, Backing::OdpTransparent);
  answer(late());
  const auto thaw = only<effect::Recall>();
  EXPECT_EQ(thaw.action, Action::Thaw);
  ask(8, BreakKind::Sync);
  EXPECT_TRUE(none<effect::StartWork>());
  answer(thaw);
  ASSERT_TRUE(syncs());
  work_done(only<effect::StartWork>());
  EXPECT_TRUE(answered(8));
}

TEST_F(SyncAfterDenial, WaitsForWhatATrimHadTakenOffTheFile) {
  grant(1, Backing::OdpCooperative);
  truncate(7, kPg);
  const auto trim = only<effect::Recall>();
  wait(p.recall_deadline);
  left(7, kSize);
  answer(trim);
  const auto settle = only<effect::Recall>();
  ask(8, BreakKind::Sync);
  EXPECT_TRUE(none<effect::StartWork>());
  answer(settle);
  EXPECT_TRUE(syncs());
}

TEST_F(SyncAfterDenial, WaitsForTheFenceOfOneThatDoesNotBringItBack) {
  grant(1, Backing::OdpTransparent);
  answer(late());
  ask(8, BreakKind::Sync);
  wait(p.recall_deadline);
  EXPECT_EQ(only<effect::StartFence>().lease, 1u);
  EXPECT_TRUE(none<effect::StartWork>());
  ask(9, BreakKind::Sync);
  step(event::FenceDone{1, true});
  ASSERT_TRUE(syncs());
  work_done(only<effect::StartWork>());
  EXPECT_TRUE(answered(8));
}

TEST_F(SyncAfterDenial, WaitsForAFenceThatRunsAlready) {
  grant(1, Backing::OdpTransparent);
  answer(late());
  wait(p.recall_deadline);
  EXPECT_EQ(only<effect::StartFence>().lease, 1u);
  ask(8, BreakKind::Sync);
  EXPECT_TRUE(none<effect::StartWork>());
  step(event::FenceDone{1, true});
  EXPECT_TRUE(syncs());
}

TEST_F(SyncAfterDenial, WaitsForTheLastFlushOfOneThatEndsMeanwhile) {
  grant(1, Backing::OdpTransparent);
  answer(late());
  ask(8, BreakKind::Sync);
  step(event::SessionGone{1});
  const auto flush = only<effect::StartWork>();
  EXPECT_EQ(flush.kind, Work::Flush);
  work_done(flush);
  EXPECT_EQ(only<effect::Forget>().lease, 1u);
  EXPECT_TRUE(syncs());
}

TEST_F(SyncAfterDenial, WaitsForALastFlushThatRunsAlready) {
  grant(1, Backing::OdpTransparent);
  answer(late());
  step(event::SessionGone{1});
  const auto flush = only<effect::StartWork>();
  ask(8, BreakKind::Sync);
  EXPECT_TRUE(none<effect::StartWork>());
  work_done(flush);
  EXPECT_TRUE(syncs());
}

TEST_F(SyncAfterDenial, OfADirectLeaseWaitsToo) {
  grant(1, Backing::Direct);
  const auto freeze = late();
  ask(8, BreakKind::Sync);
  const auto dirty = only<effect::Recall>();
  EXPECT_EQ(dirty.action, Action::Dirty);
  answer(freeze);
  const auto thaw = only<effect::Recall>();
  answer(dirty);
  EXPECT_TRUE(none<effect::StartWork>());
  answer(thaw);
  EXPECT_TRUE(syncs());
}

TEST_F(SyncAfterDenial, SaysSoWhereNobodyKnowsWhetherItHasComplied) {
  grant(1, Backing::OdpTransparent);
  late();
  ask(8, BreakKind::Sync);
  ASSERT_TRUE(syncs());
  work_done(only<effect::StartWork>());
  EXPECT_TRUE(answered(8, ETIMEDOUT));
}

TEST_F(Deny, BounceWorkIsResumed) {
  grant(1, Backing::Direct);
  grant(2, Backing::Bounce);
  truncate(7, kPg);
  work_done(only<effect::StartWork>());
  wait(p.recall_deadline);
  EXPECT_TRUE(answered(7, EBUSY));
  left(7, kSize);
  EXPECT_EQ(only<effect::StartWork>().kind, Work::ResumeFlush);
}

TEST_F(Deny, ALeaseThatGoesWhileLateIsForgotten) {
  grant(1, Backing::Direct);
  truncate(7, kPg);
  const auto r = only<effect::Recall>();
  wait(p.recall_deadline);
  step(event::SessionGone{1});
  EXPECT_EQ(only<effect::Forget>().lease, 1u);
  left(7, kSize);
  EXPECT_TRUE(over(7));
  answer(r);
  EXPECT_EQ(got<effect::Report>().size(), 1u);
}

}  // namespace
}  // namespace mrlease::core
