// SPDX-License-Identifier: Apache-2.0
// What a predecessor left: leases that were granted, breaks whose first half is done.
#include "tests/unit/core/harness.h"

namespace mrlease::core {
namespace {

class Adopt : public ::testing::Test, public Harness {
 protected:
  void adopt(LeaseId id, Backing backing, Extent extent = {0, kSize}) {
    step(event::AdoptLease{lease(id, backing, extent)});
    ASSERT_NE(arbiter.find(id), nullptr);
    EXPECT_TRUE(last.empty());
  }
};

TEST_F(Adopt, ALeaseIsProtectedAsIfGranted) {
  adopt(1, Backing::OdpTransparent);
  EXPECT_TRUE(arbiter.needs(kFile).truncate);
  truncate(10, kPg);
  EXPECT_FALSE(answered(10));
  EXPECT_EQ(only<effect::Recall>().action, Action::Trim);
  answer(only<effect::Recall>());
  EXPECT_TRUE(answered(10));
}

TEST_F(Adopt, ALeaseIsNotTakenOverTwice) {
  adopt(1, Backing::Bounce);
  step(event::AdoptLease{lease(1, Backing::Direct)});
  EXPECT_EQ(arbiter.leases(), 1u);
  EXPECT_EQ(arbiter.find(1)->backing, Backing::Bounce);
}

TEST_F(Adopt, ANewLeaseThatOverlapsIsRefused) {
  Lease mine = lease(1, Backing::Bounce);
  mine.share = false;
  step(event::AdoptLease{mine});
  step(event::RequestLease{2, lease(2, Backing::Bounce)});
  EXPECT_EQ(only<effect::Refused>().code, EBUSY);
}

TEST_F(Adopt, ATrimmedLeaseIsSettledBeforeTheNextTruncate) {
  adopt(1, Backing::OdpTransparent);
  step(event::AdoptBreak{5, kFile, BreakKind::Truncate, {}, kSize, 0, 0, {{1, {kPg, kSize}}}});
  const auto settle = only<effect::Recall>();
  EXPECT_EQ(settle.action, Action::Settle);
  EXPECT_EQ(settle.extent, (Extent{kPg, kSize}));
  EXPECT_EQ(settle.size, kSize);
  truncate(10, kPg);  // held since before: it waits for the end of what was begun
  EXPECT_TRUE(none<effect::Recall>());
  answer(settle);
  EXPECT_TRUE(over(5));
  EXPECT_EQ(only<effect::Recall>().action, Action::Trim);
  EXPECT_FALSE(answered(10));
}

// Trimmed for a truncate that was denied: what lies in its store comes to the file when that may change again.
TEST_F(Adopt, UnderAFreezeThatGoesOnNothingIsSettled) {
  adopt(1, Backing::OdpCooperative);
  step(event::AdoptBreak{5, kFile, BreakKind::Freeze, {}, kSize, 500, 9, {{1, {0, kSize}}}});
  step(event::AdoptBreak{6, kFile, BreakKind::Truncate, {}, kSize, 0, 0, {{1, {kPg, kSize}}}});
  EXPECT_TRUE(none<effect::Recall>());
  EXPECT_TRUE(over(6));
  step(event::Thaw{5, 50});
  const auto thaw = only<effect::Recall>();
  EXPECT_EQ(thaw.action, Action::Thaw);
  answer(thaw);
  const auto settle = only<effect::Recall>();
  EXPECT_EQ(settle.action, Action::Settle);
  EXPECT_EQ(settle.extent, (Extent{kPg, kSize}));
  EXPECT_EQ(settle.size, kSize);
}

// The client had not complied, and what it was to be fenced for may have gone through.
TEST_F(Adopt, AFenceThatHadBegunBeginsAgain) {
  adopt(1, Backing::OdpTransparent);
  step(event::AdoptFence{1});
  EXPECT_EQ(only<effect::StartFence>().lease, 1u);
  step(event::AdoptBreak{5, kFile, BreakKind::Truncate, {}, kSize, 0, 0, {{1, {kPg, kSize}}}});
  EXPECT_TRUE(none<effect::Recall>());
  truncate(10, kPg);
  EXPECT_TRUE(none<effect::Recall>());
  step(event::FenceDone{1, true});
  EXPECT_EQ(only<effect::Fenced>().lease, 1u);
  EXPECT_TRUE(over(5));
  EXPECT_TRUE(answered(10));
}

TEST_F(Adopt, WhoIsFencedUnderAFreezeIsNotAskedToSettleAfterIt) {
  adopt(1, Backing::OdpCooperative);
  step(event::AdoptFence{1});
  step(event::AdoptBreak{5, kFile, BreakKind::Freeze, {}, kSize, 500, 9, {{1, {0, kSize}}}});
  step(event::AdoptBreak{6, kFile, BreakKind::Truncate, {}, kSize, 0, 0, {{1, {kPg, kSize}}}});
  step(event::FenceDone{1, true});
  step(event::Thaw{5, 50});
  EXPECT_TRUE(none<effect::Recall>());
  work_done(only<effect::StartWork>());
  EXPECT_TRUE(none<effect::Recall>());
  EXPECT_EQ(only<effect::Thawed>().freeze, 5u);
}

TEST_F(Adopt, AFenceThatHadBegunIsBoundedAsAnother) {
  adopt(1, Backing::Direct);
  step(event::AdoptFence{1});
  truncate(10, kPg);
  wait(Policy{}.fence_deadline);
  EXPECT_TRUE(only<effect::StartFence>().kill);
  wait(Policy{}.fence_deadline);
  EXPECT_TRUE(answered(10));
}

TEST_F(Adopt, WhatWasCutOffWhileNobodyLookedIsCutOff) {
  adopt(1, Backing::OdpTransparent);
  adopt(2, Backing::Direct);
  step(event::AdoptBreak{5, kFile, BreakKind::Truncate, {}, 2 * kPg, 0, 0, {{1, {kPg, kSize}}, {2, {0, kSize}}}});
  const auto recalls = got<effect::Recall>();
  ASSERT_EQ(recalls.size(), 2u);
  EXPECT_EQ(recalls[0].size, 2 * kPg);
  EXPECT_EQ(recalls[1].action, Action::Reregister);
  EXPECT_EQ(recalls[1].size, 2 * kPg);
  EXPECT_EQ(arbiter.find(1)->on_file_end, 2 * kPg);
}

TEST_F(Adopt, BounceResumesAndMergesByWork) {
  adopt(1, Backing::Bounce);
  step(event::AdoptBreak{5, kFile, BreakKind::Truncate, {}, kSize, 0, 0, {{1, {0, kSize}}}});
  EXPECT_EQ(only<effect::StartWork>().kind, Work::ResumeFlush);
  work_done(only<effect::StartWork>());
  step(event::AdoptBreak{6, kFile, BreakKind::Write, {0, kSize}, kSize, 0, 0, {{1, {0, kSize}}}});
  EXPECT_EQ(only<effect::StartWork>().kind, Work::Merge);
  work_done(only<effect::StartWork>());
  EXPECT_TRUE(over(6));
  EXPECT_EQ(arbiter.breaks(), 0u);
}

// The predecessor had allowed it, and it does not end.
TEST_F(Adopt, NothingIsGrantedWhileAnOperationIsInside) {
  step(event::AdoptPassing{5, kFile});
  step(event::RequestLease{2, lease(2, Backing::Direct)});
  EXPECT_TRUE(none<effect::Granted>() && none<effect::Refused>());
  wait(10 * Policy{}.passing_bound);
  EXPECT_TRUE(none<effect::Granted>());
  left(5, kSize);
  EXPECT_TRUE(over(5));
  EXPECT_TRUE(none<effect::BreakAnswered>());
  EXPECT_EQ(only<effect::Granted>().lease, 2u);
}

TEST_F(Adopt, WhatItHasCutOffIsNotGranted) {
  step(event::AdoptPassing{5, kFile});
  step(event::RequestLease{2, lease(2, Backing::Direct)});
  left(5, kPg);
  EXPECT_EQ(only<effect::Refused>().code, ERANGE);
}

// Nobody knows what of them is in its way.
TEST_F(Adopt, TheLeasesUnderItAreRevokedMeanwhile) {
  adopt(1, Backing::Bounce);
  step(event::AdoptPassing{5, kFile});
  step(event::RequestBreak{6, kFile, BreakKind::Revoke, {}, 0, 0, 0, false});
  answer(only<effect::Recall>());
  work_done(only<effect::StartWork>());
  EXPECT_EQ(only<effect::Forget>().lease, 1u);
  EXPECT_TRUE(over(6));
  truncate(10, 0);
  EXPECT_TRUE(answered(10));
  left(10, 0);
  EXPECT_TRUE(over(10));
  left(5, kSize);
  EXPECT_TRUE(over(5));
}

// Nor is what is on its way from a lease to the file, where that could not be revoked.
TEST_F(Adopt, NothingIsSaidToBeDurableUnderIt) {
  adopt(1, Backing::OdpTransparent);
  step(event::AdoptPassing{5, kFile});
  ask(6, BreakKind::Sync, {}, 0, 9);
  EXPECT_TRUE(answered(6, EBUSY));
  left(5, kSize);
  ask(7, BreakKind::Sync, {}, 0, 9);
  EXPECT_EQ(only<effect::StartWork>().kind, Work::Fsync);
}

// The file may have been cut behind what is frozen.
TEST_F(Adopt, AThawDoesNotBringTheOldEndBack) {
  adopt(1, Backing::OdpCooperative);
  step(event::AdoptBreak{5, kFile, BreakKind::Freeze, {0, kPg}, kSize, 500, 9, {{1, {0, kPg}}}});
  truncate(10, 8 * kPg);
  answer(only<effect::Recall>());
  left(10, 8 * kPg);
  answer(only<effect::Recall>());
  EXPECT_TRUE(over(10));
  step(event::ExtendLease{91, 1, 1, 8 * kPg});
  EXPECT_TRUE(last.empty());
  step(event::Thaw{5, 77});
  answer(only<effect::Recall>());
  EXPECT_EQ(only<effect::Extended>().file_size, 8 * kPg);
  EXPECT_EQ(arbiter.find(1)->on_file_end, 8 * kPg);
}

// What of the lease was out of its way, a thaw might bring back.
TEST_F(Adopt, AFreezeThatHeldBeforeThawsWhenItHasLeft) {
  adopt(1, Backing::Direct);
  step(event::AdoptPassing{5, kFile});
  step(event::AdoptBreak{6, kFile, BreakKind::Freeze, {0, kPg}, kSize, 500, 9, {{1, {0, kPg}}}});
  step(event::RequestBreak{7, kFile, BreakKind::Revoke, {}, 0, 0, 0, false});
  EXPECT_TRUE(none<effect::Recall>()) << "the frozen range stands still";
  wait(500);
  EXPECT_TRUE(none<effect::Recall>());
  EXPECT_TRUE(answered(7, EBUSY));
  truncate(10, kSize / 2);  // but nobody else's system call waits for it
  answer(only<effect::Recall>());
  EXPECT_TRUE(answered(10));
  left(10, kSize / 2);
  left(5, kSize / 2);
  ASSERT_EQ(only<effect::Recall>().action, Action::Reregister);
  answer(only<effect::Recall>());
  EXPECT_TRUE(over(5));
  EXPECT_EQ(only<effect::Recall>().action, Action::Thaw);
}

// Had it been handed to its heir before the restart, it would not come back now.
TEST_F(Adopt, WhatALaterOperationWouldGiveBackWaitsForItsEnd) {
  adopt(1, Backing::OdpTransparent);
  step(event::AdoptPassing{5, kFile});
  truncate(10, 2 * kPg);
  answer(only<effect::Recall>());
  EXPECT_TRUE(answered(10));
  left(10, 2 * kPg);
  EXPECT_TRUE(none<effect::Recall>());
  EXPECT_TRUE(over(10));
  left(5, 2 * kPg);
  const auto settle = only<effect::Recall>();
  EXPECT_EQ(settle.action, Action::Settle);
  EXPECT_EQ(settle.size, 2 * kPg);
  answer(settle);
  EXPECT_TRUE(over(5));
}

TEST_F(Adopt, AFreezeUnderItIsRefused) {
  step(event::AdoptPassing{5, kFile});
  ask(6, BreakKind::Freeze, {}, 0, 9);
  EXPECT_TRUE(answered(6, EBUSY));
}

// The file may have become shorter in a way that asks nothing of on-demand pages: a collapse that could not be told.
TEST_F(Adopt, WhoDoesNotHearOfTheNewEndIsAskedAtTheNextTruncate) {
  adopt(1, Backing::Bounce);
  adopt(2, Backing::OdpTransparent);
  step(event::AdoptBreak{5, kFile, BreakKind::Truncate, {}, 2 * kPg, 0, 0, {{1, {0, kSize}}}});
  work_done(only<effect::StartWork>());
  EXPECT_EQ(arbiter.find(1)->on_file_end, 2 * kPg);
  EXPECT_EQ(arbiter.find(2)->on_file_end, kSize);
  truncate(6, 2 * kPg);  // it has grown again meanwhile
  EXPECT_EQ(only<effect::Recall>().lease, 2u);
  EXPECT_EQ(only<effect::Recall>().action, Action::Trim);
}

TEST_F(Adopt, ACollapseSettlesOnDemandPages) {
  adopt(1, Backing::OdpTransparent);
  step(event::AdoptBreak{5, kFile, BreakKind::Destructive, {kPg, kToEnd}, 2 * kPg, 0, 0, {{1, {2 * kPg, kSize}}}});
  EXPECT_EQ(only<effect::Recall>().action, Action::Settle);
  EXPECT_EQ(only<effect::Recall>().size, 2 * kPg);
  EXPECT_EQ(arbiter.find(1)->on_file_end, 2 * kPg);
}

TEST_F(Adopt, AFreezeGoesOnHolding) {
  adopt(1, Backing::OdpTransparent);
  step(event::AdoptBreak{5, kFile, BreakKind::Freeze, {}, kSize, 500, 9, {{1, {0, kSize}}}});
  EXPECT_TRUE(last.empty());
  ask(10, BreakKind::Write, {0, kPg});
  EXPECT_FALSE(answered(10));
  step(event::Thaw{5, 77});
  const auto thaw = only<effect::Recall>();
  EXPECT_EQ(thaw.action, Action::Thaw);
  answer(thaw);
  EXPECT_EQ(only<effect::Thawed>().request, 77u);
  EXPECT_FALSE(only<effect::Thawed>().expired);
  EXPECT_TRUE(answered(10));
}

// What is in the store of a freeze that was not taken over is nobody's to ask for: the daemon writes it when the lease ends.
TEST_F(Adopt, OnlyAFreezeThatIsKnownAsksForItsStore) {
  adopt(1, Backing::OdpTransparent);
  EXPECT_FALSE(arbiter.has_frozen_store(1));
  step(event::AdoptBreak{5, kFile, BreakKind::Freeze, {}, kSize, 500, 9, {{1, {0, kSize}}}});
  EXPECT_TRUE(arbiter.has_frozen_store(1));
  step(event::SessionGone{1});
  EXPECT_TRUE(arbiter.has_frozen_store(1));
  step(event::Thaw{5, 77});
  work_done(only<effect::StartWork>());
  EXPECT_FALSE(arbiter.has_frozen_store(1));
}

TEST_F(Adopt, AFreezesHoldEnds) {
  adopt(1, Backing::OdpTransparent);
  step(event::AdoptBreak{5, kFile, BreakKind::Freeze, {}, kSize, 500, 9, {{1, {0, kSize}}}});
  wait(500);
  EXPECT_EQ(only<effect::Recall>().action, Action::Thaw);
}

TEST_F(Adopt, AFreezeWithoutAHoldIsThawed) {
  adopt(1, Backing::OdpTransparent);
  step(event::AdoptBreak{5, kFile, BreakKind::Freeze, {}, kSize, 0, 0, {{1, {0, kSize}}}});
  EXPECT_EQ(only<effect::Recall>().action, Action::Thaw);
}

TEST_F(Adopt, AClientThatDoesNotTakeItsPartBackIsFenced) {
  adopt(1, Backing::OdpTransparent);
  step(event::AdoptBreak{5, kFile, BreakKind::Truncate, {}, kSize, 0, 0, {{1, {kPg, kSize}}}});
  truncate(10, kPg);
  wait(Policy{}.recall_deadline);
  EXPECT_EQ(only<effect::StartFence>().lease, 1u);
  step(event::FenceDone{1, true});
  EXPECT_TRUE(answered(10));
}

TEST(AdoptNumbers, RecallsGoOnBehindThePredecessors) {
  Arbiter arbiter({}, 1000);
  arbiter.step(event::AdoptLease{Harness::lease(1, Backing::OdpTransparent)}, 0);
  const Effects effects = arbiter.step(event::RequestBreak{10, kFile, BreakKind::Truncate, {0, kToEnd}, 0}, 0);
  int recalls = 0;
  for (const Effect& e : effects) {
    const auto* r = std::get_if<effect::Recall>(&e);
    if (r == nullptr) continue;
    recalls++;
    EXPECT_GT(r->recall, 1000u);
  }
  EXPECT_EQ(recalls, 1);
  // The predecessor's client answers now: for nothing that is outstanding here.
  for (const Effect& e : arbiter.step(event::RecallAnswered{1000, 1, 0}, 0))
    EXPECT_EQ(std::get_if<effect::BreakAnswered>(&e), nullptr);
}

}  // namespace
}  // namespace mrlease::core
