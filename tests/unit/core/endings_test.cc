// SPDX-License-Identifier: Apache-2.0
// How leases end: released, revoked, their session gone; at every phase of a break.
#include "tests/unit/core/harness.h"

namespace mrlease::core {
namespace {

struct Endings : testing::Test, Harness {
  Effects& release(LeaseId lease, SessionId session) { return step(event::ReleaseLease{50 + lease, lease, session}); }
};

TEST_F(Endings, AReleaseIsAnsweredAtOnceAndOfBounceAfterTheFlush) {
  grant(1, Backing::Direct);
  grant(2, Backing::Bounce);
  release(1, 1);
  EXPECT_EQ(only<effect::Released>().request, 51u);
  EXPECT_EQ(arbiter.find(1), nullptr);
  release(2, 2);
  EXPECT_TRUE(none<effect::Released>());
  EXPECT_NE(arbiter.find(2), nullptr);
  work_done(only<effect::StartWork>(), ENOSPC);
  EXPECT_EQ(only<effect::Released>().code, ENOSPC);
  EXPECT_EQ(arbiter.leases(), 0u);
}

TEST_F(Endings, ABounceReaderOwesNothing) {
  Lease l = lease(1, Backing::Bounce);
  l.write = false;
  grant(l);
  release(1, 1);
  EXPECT_EQ(only<effect::Released>().code, 0);
}

TEST_F(Endings, AReleaseFlushThatOverrunsIsTimedOut) {
  grant(1, Backing::Bounce);
  release(1, 1);
  const auto flush = only<effect::StartWork>();
  wait(Policy{}.work_deadline);
  EXPECT_EQ(only<effect::Released>().code, ETIMEDOUT);
  work_done(flush);
  EXPECT_TRUE(last.empty());
}

TEST_F(Endings, WrongReleasesAreRefused) {
  grant(1, Backing::Bounce);
  release(9, 1);
  EXPECT_EQ(only<effect::Refused>().code, ENOENT);
  release(1, 2);
  EXPECT_EQ(only<effect::Refused>().code, EPERM);
  release(1, 1);
  release(1, 1);
  EXPECT_EQ(only<effect::Refused>().code, EALREADY);
}

TEST_F(Endings, AReleaseDuringARecallIsCompliance) {
  grant(1, Backing::Direct);
  truncate(7, 0);
  const auto r = only<effect::Recall>();
  release(1, 1);
  EXPECT_TRUE(answered(7));
  EXPECT_EQ(only<effect::Released>().code, 0);
  left(7, 0);
  EXPECT_TRUE(over(7));
  answer(r);
  EXPECT_EQ(got<effect::Report>().size(), 1u);
}

TEST_F(Endings, AReleaseDuringARevokeFlushesThenAnswersBoth) {
  grant(1, Backing::Bounce);
  ask(7, BreakKind::Revoke);
  release(1, 1);
  EXPECT_FALSE(answered(7));
  work_done(only<effect::StartWork>());
  EXPECT_EQ(only<effect::Released>().lease, 1u);
  EXPECT_TRUE(none<effect::Forget>());
  EXPECT_TRUE(answered(7));
  EXPECT_TRUE(over(7));
}

TEST_F(Endings, AReleaseAfterTheAnswerToARevokeIsAnsweredWithItsFlush) {
  grant(1, Backing::Bounce);
  ask(7, BreakKind::Revoke);
  answer(only<effect::Recall>());
  const auto flush = only<effect::StartWork>();
  release(1, 1);
  EXPECT_TRUE(last.empty());
  work_done(flush);
  EXPECT_EQ(only<effect::Released>().lease, 1u);
}

TEST_F(Endings, AReleaseWhilePassingLeavesNothingToRestore) {
  grant(1, Backing::Direct);
  truncate(7, 0);
  answer(only<effect::Recall>());
  release(1, 1);
  EXPECT_EQ(only<effect::Released>().lease, 1u);
  left(7, 0);
  EXPECT_TRUE(over(7));
  EXPECT_TRUE(none<effect::Recall>());
}

// A flush under a truncate could write pages behind its back.
TEST_F(Endings, ABounceReleaseUnderATruncateFlushesAfterIt) {
  grant(1, Backing::Bounce);
  truncate(7, kPg);
  work_done(only<effect::StartWork>());
  release(1, 1);
  EXPECT_TRUE(last.empty());
  left(7, kPg);
  EXPECT_EQ(only<effect::StartWork>().kind, Work::ResumeFlush);
  work_done(only<effect::StartWork>());
  EXPECT_TRUE(over(7));
  EXPECT_EQ(only<effect::StartWork>().kind, Work::Flush);
  work_done(only<effect::StartWork>());
  EXPECT_EQ(only<effect::Released>().code, 0);
}

TEST_F(Endings, AReleaseDuringRestoringEndsTheBreak) {
  grant(1, Backing::Direct);
  truncate(7, kPg);
  answer(only<effect::Recall>());
  left(7, kPg);
  release(1, 1);
  EXPECT_TRUE(over(7));
}

TEST_F(Endings, AReleaseDuringTheFenceIsCompliance) {
  grant(1, Backing::Direct);
  truncate(7, kPg);
  wait(Policy{}.recall_deadline);
  release(1, 1);
  EXPECT_TRUE(answered(7));
  EXPECT_EQ(only<effect::Released>().code, 0);
  step(event::FenceDone{1, true});
  EXPECT_TRUE(last.empty());
  left(7, kPg);
  EXPECT_EQ(arbiter.next_deadline(), kNever);
}

TEST_F(Endings, ASessionThatGoesTakesItsLeasesAlong) {
  grant(1, Backing::Direct, {0, kPg}, 5);
  grant(2, Backing::OdpTransparent, {0, kPg}, 5);
  grant(3, Backing::Bounce, {0, kPg}, 5);
  grant(4, Backing::Direct, {0, kPg}, 6);
  step(event::SessionGone{5});
  EXPECT_EQ(got<effect::Forget>().size(), 2u);
  EXPECT_EQ(only<effect::StartWork>().lease, 3u);
  work_done(only<effect::StartWork>());
  EXPECT_EQ(only<effect::Forget>().lease, 3u);
  EXPECT_EQ(arbiter.leases(), 1u);
}

TEST_F(Endings, ASessionThatGoesWhileRecalledHasComplied) {
  grant(1, Backing::Direct);
  grant(2, Backing::OdpTransparent);
  truncate(7, 0);
  answer(got<effect::Recall>()[1]);
  step(event::SessionGone{1});
  EXPECT_TRUE(answered(7));
}

TEST_F(Endings, ASessionThatGoesWhileFencedHasComplied) {
  grant(1, Backing::Direct);
  truncate(7, 0);
  wait(Policy{}.recall_deadline);
  step(event::SessionGone{1});
  EXPECT_TRUE(answered(7));
  EXPECT_EQ(only<effect::Forget>().lease, 1u);
  wait(1'000'000);
  EXPECT_TRUE(none<effect::StartFence>());
}

TEST_F(Endings, ASessionThatGoesWhilePassingOrRestoring) {
  grant(1, Backing::Direct);
  grant(2, Backing::OdpTransparent);
  truncate(7, 0);
  for (const auto& r : std::vector(got<effect::Recall>())) answer(r);
  step(event::SessionGone{1});
  EXPECT_EQ(only<effect::Forget>().lease, 1u);
  left(7, 0);
  EXPECT_EQ(only<effect::Recall>().lease, 2u);
  step(event::SessionGone{2});
  EXPECT_TRUE(over(7));
  EXPECT_EQ(arbiter.leases(), 0u);
}

TEST_F(Endings, ARevokeWaitsForTheFlushOfASessionThatGoes) {
  grant(1, Backing::Bounce);
  step(event::SessionGone{1});
  const auto flush = only<effect::StartWork>();
  ask(7, BreakKind::Revoke);
  EXPECT_TRUE(last.empty());
  work_done(flush);
  EXPECT_TRUE(answered(7));
  EXPECT_EQ(only<effect::Forget>().lease, 1u);
}

// What it writes would change a file that stands still.
TEST_F(Endings, AFreezeWaitsForALastFlushThatRuns) {
  grant(1, Backing::Bounce);
  step(event::SessionGone{1});
  const auto flush = only<effect::StartWork>();
  ask(7, BreakKind::Freeze);
  EXPECT_TRUE(last.empty());
  work_done(flush);
  EXPECT_TRUE(answered(7));
}

TEST_F(Endings, ASyncSaysThatALastFlushHasFailed) {
  grant(1, Backing::Bounce);
  step(event::SessionGone{1});
  const auto flush = only<effect::StartWork>();
  ask(7, BreakKind::Sync);
  EXPECT_TRUE(last.empty());
  work_done(flush, ENOSPC);
  work_done(only<effect::StartWork>());
  EXPECT_TRUE(answered(7, ENOSPC));
}

TEST_F(Endings, AReleaseWhoseSessionGoesIsForgottenNotAnswered) {
  grant(1, Backing::Bounce);
  release(1, 1);
  const auto flush = only<effect::StartWork>();
  step(event::SessionGone{1});
  work_done(flush);
  EXPECT_EQ(only<effect::Forget>().lease, 1u);
  EXPECT_TRUE(none<effect::Released>());
}

TEST_F(Endings, BreaksOfASessionThatGoes) {
  grant(1, Backing::Direct);
  truncate(7, 0);
  ask(8, BreakKind::Sync, {}, 0, 5);
  ask(9, BreakKind::Freeze, {}, 0, 5);
  ask(10, BreakKind::Sync, {}, 0, 6);
  step(event::SessionGone{5});
  EXPECT_TRUE(over(8));
  EXPECT_TRUE(over(9));
  EXPECT_TRUE(none<effect::BreakAnswered>());
  EXPECT_EQ(arbiter.breaks(), 2u);
}

}  // namespace
}  // namespace mrlease::core
