// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/core/harness.h"

namespace mrlease::core {
namespace {

TEST(Sync, WithoutALeaseOneFsyncOfNoLease) {
  Harness h;
  h.ask(7, BreakKind::Sync, {0, kPg});
  const auto w = h.only<effect::StartWork>();
  EXPECT_EQ(w.lease, 0u);
  EXPECT_EQ(w.kind, Work::Fsync);
  EXPECT_EQ(w.file, kFile);
  h.work_done(w);
  EXPECT_TRUE(h.answered(7));
  EXPECT_TRUE(h.over(7));
}

TEST(Sync, TheCodeOfTheWorkIsTheAnswer) {
  Harness h;
  h.grant(1, Backing::Bounce);
  h.grant(2, Backing::OdpTransparent);
  h.ask(7, BreakKind::Sync);
  const auto works = h.got<effect::StartWork>();
  ASSERT_EQ(works.size(), 2u);
  h.work_done(works[0], EIO);
  EXPECT_TRUE(h.none<effect::BreakAnswered>());
  h.work_done(works[1]);
  EXPECT_TRUE(h.answered(7, EIO));
  EXPECT_TRUE(h.over(7));
}

// Neither fence nor kill has ended: the pages are pinned, and fsync writes nothing of what the device has written to them.
TEST(Sync, WhereNobodyCouldBeFencedNothingIsDurable) {
  Harness h;
  h.grant(1, Backing::Direct);
  h.ask(7, BreakKind::Sync);
  h.wait(Policy{}.recall_deadline);
  h.wait(Policy{}.fence_deadline);
  h.wait(Policy{}.fence_deadline);
  h.work_done(h.only<effect::StartWork>());
  EXPECT_TRUE(h.answered(7, ETIMEDOUT));
}

TEST(Sync, AnOverrunIsTimedOutAndTheLateEndIsIgnored) {
  Harness h;
  h.ask(7, BreakKind::Sync);
  const auto w = h.only<effect::StartWork>();
  h.wait(Policy{}.work_deadline);
  EXPECT_TRUE(h.answered(7, ETIMEDOUT));
  h.work_done(w);
  EXPECT_TRUE(h.last.empty());
}

// A destroyed pinned registration hands its dirty pages to the file: they are not durable without one more fsync.
TEST(Sync, AClientFencedWhileItShouldDirtyIsFollowedByAnFsync) {
  Harness h;
  h.grant(1, Backing::Direct);
  h.ask(7, BreakKind::Sync);
  h.wait(Policy{}.recall_deadline);
  EXPECT_EQ(h.only<effect::StartFence>().lease, 1u);
  h.step(event::FenceDone{1, true});
  EXPECT_TRUE(h.none<effect::BreakAnswered>());
  const auto w = h.only<effect::StartWork>();
  EXPECT_EQ(w.lease, 0u);
  EXPECT_EQ(w.kind, Work::Fsync);
  h.work_done(w);
  EXPECT_TRUE(h.answered(7));
}

TEST(Sync, AClientGoneWhileItShouldDirtyIsFollowedByAnFsync) {
  Harness h;
  h.grant(1, Backing::Direct);
  h.grant(2, Backing::OdpTransparent);
  h.ask(7, BreakKind::Sync);
  h.work_done(h.only<effect::StartWork>());
  h.step(event::SessionGone{1});
  const auto w = h.only<effect::StartWork>();
  EXPECT_EQ(w.lease, 0u);
  h.work_done(w);
  EXPECT_TRUE(h.answered(7));
}

TEST(Sync, AReaderIsNotAskedToWriteItsPages) {
  Harness h;
  Lease reader = Harness::lease(1, Backing::Direct);
  reader.write = false;
  h.grant(reader);
  h.ask(7, BreakKind::Sync);
  EXPECT_TRUE(h.none<effect::Recall>());
  EXPECT_EQ(h.only<effect::StartWork>().kind, Work::Fsync);
}

}  // namespace
}  // namespace mrlease::core
