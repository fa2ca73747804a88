// SPDX-License-Identifier: Apache-2.0
// Every row of the break table: as data, and as the arbiter lives it, before and after the operation.
#include "daemon/core/break_table.h"

#include "tests/unit/core/harness.h"

namespace mrlease::core {
namespace {

struct Case {
  BreakKind kind;
  Backing backing;
  Action before;
  Work before_work;
  Action after;
  Work after_work;
};

constexpr auto kD = Backing::Direct;
constexpr auto kT = Backing::OdpTransparent;
constexpr auto kC = Backing::OdpCooperative;
constexpr auto kB = Backing::Bounce;
constexpr auto kNoA = Action::None;
constexpr auto kNoW = Work::None;

// Written out a second time, in the order of the design, so that a slip in the table is seen.
const Case kCases[] = {
    {BreakKind::Truncate, kD, Action::Quiesce, kNoW, Action::Reregister, kNoW},
    {BreakKind::Truncate, kT, Action::Trim, kNoW, Action::Settle, kNoW},
    {BreakKind::Truncate, kC, Action::Trim, kNoW, Action::Settle, kNoW},
    {BreakKind::Truncate, kB, kNoA, Work::HoldFlush, kNoA, Work::ResumeFlush},
    {BreakKind::Destructive, kD, Action::Quiesce, kNoW, Action::Reregister, kNoW},
    {BreakKind::Destructive, kT, kNoA, kNoW, kNoA, kNoW},
    {BreakKind::Destructive, kC, kNoA, kNoW, kNoA, kNoW},
    {BreakKind::Destructive, kB, kNoA, Work::Flush, kNoA, Work::Merge},
    {BreakKind::Write, kD, kNoA, kNoW, kNoA, kNoW},
    {BreakKind::Write, kT, kNoA, kNoW, kNoA, kNoW},
    {BreakKind::Write, kC, kNoA, kNoW, kNoA, kNoW},
    {BreakKind::Write, kB, kNoA, Work::Flush, kNoA, Work::Merge},
    {BreakKind::Read, kD, kNoA, kNoW, kNoA, kNoW},
    {BreakKind::Read, kT, kNoA, kNoW, kNoA, kNoW},
    {BreakKind::Read, kC, kNoA, kNoW, kNoA, kNoW},
    {BreakKind::Read, kB, kNoA, Work::Flush, kNoA, kNoW},
    {BreakKind::Sync, kD, Action::Dirty, Work::Fsync, kNoA, kNoW},
    {BreakKind::Sync, kT, kNoA, Work::Fsync, kNoA, kNoW},
    {BreakKind::Sync, kC, kNoA, Work::Fsync, kNoA, kNoW},
    {BreakKind::Sync, kB, kNoA, Work::Fsync, kNoA, kNoW},
    {BreakKind::Freeze, kD, Action::Freeze, kNoW, Action::Thaw, kNoW},
    {BreakKind::Freeze, kT, Action::Freeze, kNoW, Action::Thaw, kNoW},
    {BreakKind::Freeze, kC, Action::Freeze, kNoW, Action::Thaw, kNoW},
    {BreakKind::Freeze, kB, kNoA, Work::FreezeFlush, kNoA, Work::ResumeFlush},
    {BreakKind::Revoke, kD, Action::Release, kNoW, kNoA, kNoW},
    {BreakKind::Revoke, kT, Action::Release, kNoW, kNoA, kNoW},
    {BreakKind::Revoke, kC, Action::Release, kNoW, kNoA, kNoW},
    {BreakKind::Revoke, kB, Action::Release, Work::Flush, kNoA, kNoW},
};
static_assert(std::size(kCases) == kBreakKinds * kBackings);

class EveryRow : public testing::TestWithParam<Case> {};

TEST_P(EveryRow, AsData) {
  const Case& c = GetParam();
  EXPECT_EQ(row(c.kind, c.backing), (Row{{c.before, c.before_work}, {c.after, c.after_work}}));
}

// Plays what one phase asks; expects exactly that and that nothing is answered before.
void play(Harness& h, Action action, Work work, BreakKind kind) {
  if (action != Action::None) {
    const auto recall = h.only<effect::Recall>();
    EXPECT_EQ(recall.action, action);
    EXPECT_EQ(recall.reason, kind);
    EXPECT_EQ(recall.lease, 1u);
    EXPECT_TRUE(h.none<effect::StartWork>());
    EXPECT_TRUE(h.none<effect::BreakAnswered>());
    EXPECT_TRUE(h.none<effect::BreakDone>());
    h.answer(recall);
  }
  if (work != Work::None) {
    const auto started = h.only<effect::StartWork>();
    EXPECT_EQ(started.kind, work);
    EXPECT_EQ(started.lease, 1u);
    EXPECT_TRUE(h.none<effect::Recall>());
    EXPECT_TRUE(h.none<effect::BreakAnswered>());
    EXPECT_TRUE(h.none<effect::BreakDone>());
    h.work_done(started);
  }
  EXPECT_TRUE(h.none<effect::StartFence>());
}

TEST_P(EveryRow, AsLived) {
  const Case& c = GetParam();
  Harness h;
  h.grant(1, c.backing);
  c.kind == BreakKind::Truncate ? h.truncate(7, kPg) : h.ask(7, c.kind);
  play(h, c.before, c.before_work, c.kind);
  EXPECT_TRUE(h.answered(7));
  const bool after = c.after != kNoA || c.after_work != kNoW;
  EXPECT_EQ(h.over(7), !after);
  if (!after) {
    EXPECT_TRUE(h.none<effect::WatchPassing>());
    EXPECT_EQ(h.arbiter.find(1) == nullptr, c.kind == BreakKind::Revoke);
    EXPECT_EQ(h.arbiter.breaks(), 0u);
    return;
  }
  if (c.kind == BreakKind::Freeze) {
    EXPECT_TRUE(h.none<effect::WatchPassing>());
    h.step(event::Thaw{7, 70});
  } else {
    EXPECT_EQ(h.only<effect::WatchPassing>().id, 7u);
    EXPECT_TRUE(h.none<effect::Recall>());
    EXPECT_TRUE(h.none<effect::StartWork>());
    h.left(7, kPg);
  }
  play(h, c.after, c.after_work, c.kind);
  EXPECT_TRUE(h.over(7));
  EXPECT_EQ(h.ever<effect::BreakAnswered>().size(), 1u);
  EXPECT_EQ(h.ever<effect::BreakDone>().size(), 1u);
  EXPECT_EQ(h.arbiter.breaks(), 0u);
  EXPECT_EQ(h.arbiter.next_deadline(), kNever);
}

// A lease that only reads owes the file nothing and cannot change it.
TEST_P(EveryRow, ForAReader) {
  const Case& c = GetParam();
  Lease reader = Harness::lease(1, c.backing);
  reader.write = false;
  Row expected = row(c.kind, c.backing);
  if (c.kind == BreakKind::Freeze) expected = Row{};
  if (c.backing == kB && expected.before.work == Work::Flush) expected.before.work = kNoW;
  if (expected.before.action == Action::Dirty) expected.before.action = kNoA;
  EXPECT_EQ(row_for(c.kind, reader, false), expected);
}

INSTANTIATE_TEST_SUITE_P(Table, EveryRow, testing::ValuesIn(kCases));

TEST(BreakTable, AFrozenBounceLeaseBringsNothingIntoTheFile) {
  const Lease lease = Harness::lease(1, kB);
  EXPECT_EQ(row_for(BreakKind::Read, lease, true), Row{});
  EXPECT_EQ(row_for(BreakKind::Sync, lease, true), Row{});
  EXPECT_EQ(row_for(BreakKind::Write, lease, true), (Row{{}, {kNoA, Work::Merge}}));
  EXPECT_EQ(row_for(BreakKind::Truncate, lease, true), (Row{{kNoA, Work::HoldFlush}, {}}));
  EXPECT_EQ(row_for(BreakKind::Revoke, lease, true), row(BreakKind::Revoke, kB));
}

TEST(BreakExtents, TruncateTakesADirectLeaseWholeAndAnOdpLeaseByItsTail) {
  Harness h;
  h.grant(1, kD);
  h.grant(2, kT);
  h.truncate(7, 5 * kPg + 100);
  const auto recalls = h.got<effect::Recall>();
  ASSERT_EQ(recalls.size(), 2u);
  EXPECT_EQ(recalls[0].extent, (Extent{0, kSize}));
  EXPECT_EQ(recalls[1].extent, (Extent{6 * kPg, kSize}));
  EXPECT_EQ(recalls[1].size, 5 * kPg + 100);
}

TEST(BreakExtents, ATruncateInsideTheLastPageAsksOdpNothingButLearnsTheSize) {
  Harness h;
  h.grant(1, kT);
  h.truncate(7, kSize - 100);
  EXPECT_TRUE(h.none<effect::Recall>());
  EXPECT_TRUE(h.answered(7));
  h.left(7, kSize - 100);
  EXPECT_TRUE(h.over(7));
  EXPECT_TRUE(h.none<effect::Recall>());
  EXPECT_EQ(h.arbiter.find(1)->on_file_end, kSize - 100);
}

TEST(BreakExtents, WhatATruncateDoesNotReachIsNotAsked) {
  Harness h;
  for (LeaseId id = 1; id <= 4; ++id) h.grant(id, static_cast<Backing>(id - 1));
  h.truncate(7, kSize);
  EXPECT_TRUE(h.answered(7));
  EXPECT_TRUE(h.none<effect::Recall>());
  EXPECT_TRUE(h.none<effect::StartWork>());
  h.left(7, kSize);
  EXPECT_TRUE(h.over(7));
  EXPECT_TRUE(h.none<effect::Recall>());
}

TEST(BreakExtents, AFreezeIsRoundedOutwardsToPagesAndEndsWithTheFile) {
  Harness h;
  Lease lease = Harness::lease(1, kT, {kPg, 8 * kPg});
  lease.on_file_end = 5 * kPg + 1;
  h.grant(lease);
  h.ask(7, BreakKind::Freeze, {3 * kPg + 5, kToEnd});
  EXPECT_EQ(h.only<effect::Recall>().extent, (Extent{3 * kPg, 6 * kPg}));
}

TEST(BreakExtents, OtherFilesAndOtherRangesAreLeftAlone) {
  Harness h;
  Lease elsewhere = Harness::lease(1, kD);
  elsewhere.file = kOtherFile;
  h.grant(elsewhere);
  h.grant(2, kD, {8 * kPg, 9 * kPg});
  h.ask(7, BreakKind::Destructive, {0, 8 * kPg});
  EXPECT_TRUE(h.none<effect::Recall>());
  EXPECT_TRUE(h.over(7));
}

TEST(Needs, FollowTheLeasesOfTheFile) {
  const auto needs = [](Backing backing, bool write) {
    Harness h;
    Lease lease = Harness::lease(1, backing);
    lease.write = write;
    h.grant(lease);
    return h.arbiter.needs(kFile);
  };
  EXPECT_EQ(Harness{}.arbiter.needs(kFile), Needs{});
  EXPECT_EQ(needs(kD, true), (Needs{true, true, false, false}));
  EXPECT_EQ(needs(kT, true), (Needs{true, false, false, false}));
  EXPECT_EQ(needs(kC, true), (Needs{true, false, false, false}));
  EXPECT_EQ(needs(kB, true), (Needs{true, true, true, true}));
  EXPECT_EQ(needs(kB, false), (Needs{true, true, true, false}));
}

TEST(Needs, EndWithTheLeaseAndItsFence) {
  Harness h;
  h.grant(1, kD);
  h.grant(2, kB);
  h.step(event::SessionGone{1});
  EXPECT_EQ(h.arbiter.needs(kFile), (Needs{true, true, true, true}));
  h.ask(7, BreakKind::Revoke);
  h.answer(h.only<effect::Recall>(), EIO);
  h.step(event::FenceDone{2, true});
  EXPECT_EQ(h.arbiter.needs(kFile), Needs{});
  EXPECT_NE(h.arbiter.find(2), nullptr);
}

TEST(Needs, AFreezeHoldsEverythingThatChangesTheFile) {
  Harness h;
  h.ask(7, BreakKind::Freeze);
  EXPECT_EQ(h.arbiter.needs(kFile), (Needs{true, true, true, false}));
  h.step(event::Thaw{7, 1});
  EXPECT_EQ(h.arbiter.needs(kFile), Needs{});
}

}  // namespace
}  // namespace mrlease::core
