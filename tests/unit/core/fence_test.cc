// SPDX-License-Identifier: Apache-2.0
// Force, by stages: recall deadline, fence, kill, bound. A hostile client gains nothing by any answer.
#include "tests/unit/core/harness.h"

namespace mrlease::core {
namespace {

struct Fencing : testing::Test, Harness {
  const Policy p;
  effect::Recall recall_of_truncate(LeaseId lease = 1) {
    grant(lease, Backing::Direct);
    truncate(7, 0);
    return only<effect::Recall>();
  }
};

TEST_F(Fencing, TheDeadlinesAreNested) {
  const auto r = recall_of_truncate();
  EXPECT_EQ(r.deadline, now + p.recall_deadline);
  EXPECT_EQ(arbiter.next_deadline(), r.deadline);
  wait(p.recall_deadline - 1);
  EXPECT_TRUE(last.empty());
  wait(1);
  EXPECT_FALSE(only<effect::StartFence>().kill);
  EXPECT_EQ(only<effect::StartFence>().session, 1u);
  EXPECT_TRUE(none<effect::BreakAnswered>());
  wait(p.fence_deadline - 1);
  EXPECT_TRUE(last.empty());
  wait(1);
  EXPECT_TRUE(only<effect::StartFence>().kill);
  EXPECT_TRUE(none<effect::BreakAnswered>());
  wait(p.fence_deadline);
  EXPECT_TRUE(none<effect::StartFence>());
  EXPECT_EQ(got<effect::Report>().size(), 1u);
  EXPECT_TRUE(answered(7));
}

TEST_F(Fencing, AFencedLeaseIsOutOfTheWayForGood) {
  recall_of_truncate();
  wait(p.recall_deadline);
  step(event::FenceDone{1, true});
  EXPECT_EQ(only<effect::Fenced>().lease, 1u);
  EXPECT_TRUE(answered(7));
  EXPECT_TRUE(none<effect::StartFence>());
  left(7, 0);
  EXPECT_TRUE(over(7));
  EXPECT_TRUE(none<effect::Recall>());
  ask(8, BreakKind::Destructive);
  EXPECT_TRUE(none<effect::Recall>());
  EXPECT_TRUE(over(8));
  EXPECT_EQ(arbiter.next_deadline(), kNever);
  ASSERT_NE(arbiter.find(1), nullptr);
  step(event::ReleaseLease{5, 1, 1});
  EXPECT_EQ(only<effect::Released>().code, EKEYREVOKED);
  EXPECT_EQ(arbiter.find(1), nullptr);
}

TEST_F(Fencing, ADoneFenceCancelsTheKill) {
  recall_of_truncate();
  wait(p.recall_deadline);
  wait(p.fence_deadline - 1);
  step(event::FenceDone{1, true});
  EXPECT_TRUE(answered(7));
  wait(1'000'000);
  EXPECT_TRUE(none<effect::StartFence>());
}

TEST_F(Fencing, AFenceDonePastTheBoundIsStillTold) {
  recall_of_truncate();
  wait(p.recall_deadline);
  wait(p.fence_deadline);
  wait(p.fence_deadline);
  EXPECT_TRUE(answered(7));
  step(event::FenceDone{1, false});
  EXPECT_EQ(only<effect::Fenced>().lease, 1u);
  EXPECT_EQ(last.size(), 1u);
  step(event::FenceDone{1, false});
  EXPECT_TRUE(last.empty());
}

TEST_F(Fencing, AnErrnoIsARefusalAndFencesAtOnce) {
  answer(recall_of_truncate(), EIO);
  EXPECT_EQ(only<effect::StartFence>().lease, 1u);
  EXPECT_TRUE(none<effect::BreakAnswered>());
}

TEST_F(Fencing, PolicyKillKillsAtOnceAndOnlyOnce) {
  Policy kill;
  kill.on_timeout = OnTimeout::Kill;
  arbiter.set_policy(kill);
  recall_of_truncate();
  wait(p.recall_deadline);
  EXPECT_TRUE(only<effect::StartFence>().kill);
  wait(p.fence_deadline);
  EXPECT_TRUE(last.empty());
  wait(p.fence_deadline);
  EXPECT_TRUE(none<effect::StartFence>());
  EXPECT_TRUE(answered(7));
}

TEST_F(Fencing, ALateAnswerDoesNotReplaceTheFence) {
  const auto r = recall_of_truncate();
  wait(p.recall_deadline);
  answer(r);
  EXPECT_TRUE(none<effect::BreakAnswered>());
  EXPECT_EQ(got<effect::Report>().size(), 1u);
  step(event::FenceDone{1, true});
  EXPECT_TRUE(answered(7));
}

TEST_F(Fencing, AnotherSessionCannotAnswer) {
  const auto r = recall_of_truncate();
  step(event::RecallAnswered{r.recall, 99, 0});
  EXPECT_TRUE(none<effect::BreakAnswered>());
  EXPECT_EQ(got<effect::Report>().size(), 1u);
  step(event::RecallAnswered{r.recall, 99, EIO});
  EXPECT_TRUE(none<effect::StartFence>());
  answer(r);
  EXPECT_TRUE(answered(7));
}

TEST_F(Fencing, ASecondAnswerIsReportedAndCountsNothing) {
  grant(2, Backing::Direct);
  grant(1, Backing::Direct);
  truncate(7, 0);
  const auto recalls = got<effect::Recall>();
  answer(recalls[0]);
  EXPECT_TRUE(last.empty());
  answer(recalls[0]);
  EXPECT_EQ(got<effect::Report>().size(), 1u);
  EXPECT_TRUE(none<effect::BreakAnswered>());
  answer(recalls[1]);
  EXPECT_TRUE(answered(7));
}

TEST_F(Fencing, ARecallThatWasNeverSentIsReported) {
  step(event::RecallAnswered{12345, 1, 0});
  EXPECT_EQ(got<effect::Report>().size(), 1u);
}

TEST_F(Fencing, WhoDoesNotTakeItsPartBackIsFenced) {
  answer(recall_of_truncate());
  left(7, kPg);
  EXPECT_EQ(only<effect::Recall>().action, Action::Reregister);
  wait(p.recall_deadline);
  EXPECT_EQ(only<effect::StartFence>().lease, 1u);
  EXPECT_FALSE(over(7));
  step(event::FenceDone{1, true});
  EXPECT_TRUE(over(7));
}

TEST_F(Fencing, TheNextBreakWaitsForAFenceThatIsUnderWay) {
  // A sync is let through while the freeze of the same lease is being undone by force.
  grant(1, Backing::Direct);
  grant(2, Backing::Direct);
  ask(7, BreakKind::Freeze);
  for (const auto& r : std::vector(got<effect::Recall>())) answer(r);
  step(event::Thaw{7, 70});
  const auto thaws = got<effect::Recall>();
  ASSERT_EQ(thaws.size(), 2u);
  answer(thaws[0]);
  answer(thaws[1], EIO);
  EXPECT_EQ(only<effect::StartFence>().lease, 2u);
  EXPECT_TRUE(none<effect::Thawed>());
  step(event::FenceDone{2, true});
  work_done(only<effect::StartWork>());
  EXPECT_EQ(only<effect::Thawed>().request, 70u);
}

// Bounce pages outlive the client's access to them: what it wrote is owed.
TEST_F(Fencing, ABounceLeaseIsFlushedAfterItsFence) {
  grant(1, Backing::Bounce);
  ask(7, BreakKind::Revoke);
  EXPECT_EQ(only<effect::Recall>().action, Action::Release);
  wait(p.recall_deadline);
  EXPECT_TRUE(none<effect::StartWork>());
  step(event::FenceDone{1, true});
  EXPECT_EQ(only<effect::Fenced>().lease, 1u);
  EXPECT_FALSE(answered(7));
  const auto flush = only<effect::StartWork>();
  EXPECT_EQ(flush.kind, Work::Flush);
  work_done(flush);
  EXPECT_TRUE(answered(7));
  EXPECT_TRUE(over(7));
  step(event::SessionGone{1});
  EXPECT_EQ(only<effect::Forget>().lease, 1u);
  EXPECT_TRUE(none<effect::StartWork>());
}

TEST_F(Fencing, AFencedBounceLeaseIsForgottenOnlyAfterItsFlush) {
  grant(1, Backing::Bounce);
  ask(7, BreakKind::Revoke);
  wait(p.recall_deadline);
  step(event::FenceDone{1, false});
  const auto flush = only<effect::StartWork>();
  step(event::SessionGone{1});
  EXPECT_TRUE(none<effect::Forget>());
  work_done(flush);
  EXPECT_EQ(only<effect::Forget>().lease, 1u);
  EXPECT_TRUE(answered(7));
}

TEST_F(Fencing, AStepThatComesLateAppliesEveryStageInOrder) {
  recall_of_truncate();
  wait(p.recall_deadline + 100);  // the timer was late by 100: the stages are counted from when they began
  EXPECT_EQ(arbiter.next_deadline(), now + p.fence_deadline);
}

TEST_F(Fencing, DeadlinesOfZeroEnd) {
  Policy zero{{0, 0, OnTimeout::Fence}, 0, 0, 0, FreezeConflict::Wait};
  arbiter.set_policy(zero);
  grant(1, Backing::Direct);
  truncate(7, 0);
  EXPECT_TRUE(answered(7));
  EXPECT_EQ(got<effect::StartFence>().size(), 2u);
}

}  // namespace
}  // namespace mrlease::core
