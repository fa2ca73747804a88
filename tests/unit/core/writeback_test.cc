// SPDX-License-Identifier: Apache-2.0
// Syncs that nobody asks for: when they are due, and of whom they want nothing.
#include "tests/unit/core/harness.h"

namespace mrlease::core {
namespace {

constexpr Time kEvery = 5000;

Policy every(Time interval) {
  Policy p;
  p.writeback_interval = interval;
  return p;
}

// What the caller does when it is told.
Effects& sync(Harness& h, BreakId id) {
  event::RequestBreak ask{id, kFile, BreakKind::Sync, {}};
  ask.periodic = true;
  return h.step(ask);
}

TEST(Writeback, OfAFileThatIsLeasedForWritingOnly) {
  Harness h(every(kEvery));
  Lease reader = Harness::lease(1, Backing::OdpTransparent);
  reader.write = false;
  h.grant(reader);
  EXPECT_EQ(h.arbiter.next_deadline(), kNever);
  h.grant(2, Backing::OdpTransparent);
  EXPECT_EQ(h.arbiter.next_deadline(), h.now + kEvery);
  h.wait(kEvery - 1);
  EXPECT_TRUE(h.none<effect::SyncDue>());
  h.wait(1);
  EXPECT_EQ(h.only<effect::SyncDue>().file, kFile);
  EXPECT_EQ(h.arbiter.next_deadline(), kNever) << "one at a time";
}

TEST(Writeback, TheNextIsDueAnIntervalAfterTheBeginningOfTheLast) {
  Harness h(every(kEvery));
  h.grant(1, Backing::OdpTransparent);
  h.wait(kEvery);
  sync(h, 7);
  const auto w = h.only<effect::StartWork>();
  EXPECT_EQ(w.kind, Work::Writeback);
  h.wait(1000);
  h.work_done(w);
  EXPECT_TRUE(h.over(7));
  EXPECT_EQ(h.arbiter.next_deadline(), h.now + kEvery - 1000);
}

TEST(Writeback, OneThatTakesLongerThanTheIntervalIsFollowedByTheNext) {
  Harness h(every(1000));
  h.grant(1, Backing::OdpTransparent);
  h.wait(1000);
  sync(h, 7);
  const auto w = h.only<effect::StartWork>();
  h.wait(3000);
  h.work_done(w, EIO);
  EXPECT_EQ(h.only<effect::SyncDue>().file, kFile) << "a failure is no reason to stop";
}

TEST(Writeback, GoesByTheShortestIntervalOfItsLeases) {
  Harness h;
  Terms often;
  often.writeback_interval = 1000;
  Terms seldom;
  seldom.writeback_interval = 9000;
  h.arbiter.set_policy({}, {often, seldom});
  Lease a = Harness::lease(1, Backing::OdpTransparent), b = Harness::lease(2, Backing::OdpTransparent);
  b.terms = 2;
  h.grant(b);
  EXPECT_EQ(h.arbiter.next_deadline(), h.now + 9000);
  a.terms = 1;
  h.grant(a);
  EXPECT_EQ(h.arbiter.next_deadline(), h.now + 1000);
  h.wait(1000);
  sync(h, 7);
  for (const auto& w : h.got<effect::StartWork>()) h.work_done(w);
  EXPECT_EQ(h.arbiter.next_deadline(), h.now + 1000);
  h.step(event::ReleaseLease{9, 1, 1});
  h.wait(1000);
  sync(h, 8);
  h.work_done(h.only<effect::StartWork>());
  EXPECT_EQ(h.arbiter.next_deadline(), h.now + 9000);
}

TEST(Writeback, EndsWithTheLastLease) {
  Harness h(every(kEvery));
  h.grant(1, Backing::OdpTransparent);
  h.step(event::ReleaseLease{9, 1, 1});
  EXPECT_EQ(h.arbiter.next_deadline(), kNever);
}

// Also while one is under way, whose own end it is then.
TEST(Writeback, EndsWithTheLastLeaseWhileItIsUnderWay) {
  Harness h(every(kEvery));
  h.grant(1, Backing::OdpTransparent);
  h.wait(kEvery);
  h.step(event::ReleaseLease{9, 1, 1});
  sync(h, 7);
  EXPECT_TRUE(h.none<effect::StartWork>()) << "no lease, nothing to write";
  EXPECT_TRUE(h.over(7));
  EXPECT_EQ(h.arbiter.next_deadline(), kNever);
}

TEST(Writeback, OtherTermsCountFromWhenTheyAreSet) {
  Harness h;
  h.grant(1, Backing::OdpTransparent);
  EXPECT_EQ(h.arbiter.next_deadline(), kNever);
  h.arbiter.set_policy(every(kEvery));
  h.arbiter.set_terms(1, 0);
  EXPECT_LE(h.arbiter.next_deadline(), h.now + kEvery);
  h.arbiter.set_policy(Policy{});
  h.arbiter.set_terms(1, 0);
  h.wait(kEvery);
  EXPECT_TRUE(h.none<effect::SyncDue>());
}

TEST(Writeback, ASuccessorGoesOn) {
  Harness h(every(kEvery));
  h.step(event::AdoptLease{Harness::lease(1, Backing::OdpTransparent)});
  EXPECT_LE(h.arbiter.next_deadline(), h.now + kEvery);
}

// Of very many files, that is: what it took over together is not due together.
TEST(Writeback, ASuccessorsFilesHaveMomentsOfTheirOwn) {
  Harness h(every(kEvery));
  for (LeaseId id = 1; id <= 160; ++id) {
    Lease l = Harness::lease(id, Backing::OdpTransparent);
    l.file.inode = id;
    h.step(event::AdoptLease{l});
  }
  std::size_t all = 0, most = 0;
  for (const Time end = h.now + kEvery; h.arbiter.next_deadline() <= end;) {
    h.wait(h.arbiter.next_deadline() - h.now);
    all += h.got<effect::SyncDue>().size();
    most = std::max(most, h.got<effect::SyncDue>().size());
  }
  EXPECT_EQ(all, 160u);
  EXPECT_LE(most, 40u);
}

// A client that hangs must not lose its lease for what nobody waits for, and who reads owes nothing.
TEST(Writeback, AsksNoClient) {
  Harness h(every(kEvery));
  h.grant(1, Backing::Direct);
  Lease reader = Harness::lease(2, Backing::Direct);
  reader.write = false;
  h.grant(reader);
  h.wait(kEvery);
  sync(h, 7);
  EXPECT_TRUE(h.none<effect::Recall>());
  const auto w = h.only<effect::StartWork>();
  EXPECT_EQ(w.lease, 1u);
  EXPECT_EQ(w.kind, Work::Writeback);
  h.work_done(w);
  EXPECT_TRUE(h.over(7));
  h.ask(8, BreakKind::Sync);
  EXPECT_EQ(h.only<effect::Recall>().action, Action::Dirty) << "who asks for one has the client asked";
}

// Of leases that are frozen it wants nothing, whatever policy says of conflicts; the others do not wait for them.
TEST(Writeback, GoesThroughFreezesAndEndsNone) {
  for (const auto conflict : {FreezeConflict::Wait, FreezeConflict::Thaw, FreezeConflict::Allow}) {
    Policy p = every(kEvery);
    p.freeze_conflict = conflict;
    Harness h(p);
    h.grant(1, Backing::OdpTransparent, {0, kPg});
    h.grant(2, Backing::OdpTransparent, {kPg, 2 * kPg});
    h.ask(6, BreakKind::Freeze, {0, kPg}, 30000, 50);
    h.answer(h.only<effect::Recall>());
    EXPECT_TRUE(h.answered(6));
    h.wait(kEvery);
    sync(h, 7);
    EXPECT_TRUE(h.none<effect::Recall>());
    const auto w = h.only<effect::StartWork>();
    EXPECT_EQ(w.lease, 2u);
    h.work_done(w);
    EXPECT_TRUE(h.over(7));
    EXPECT_TRUE(h.ever<effect::Thawed>().empty());
  }
}

TEST(Writeback, OfAFileThatIsFrozenThereIsNothingToDo) {
  Harness h(every(kEvery));
  h.grant(1, Backing::Bounce);
  h.ask(6, BreakKind::Freeze, {}, 30000, 50);
  h.work_done(h.only<effect::StartWork>());
  EXPECT_TRUE(h.answered(6));
  h.wait(kEvery);
  sync(h, 7);
  EXPECT_TRUE(h.none<effect::StartWork>());
  EXPECT_TRUE(h.over(7));
  EXPECT_EQ(h.arbiter.next_deadline(), h.now + kEvery);
}

// Foreign operations wait for it, so it waits for nobody.
TEST(Writeback, DoesNotWaitForAFence) {
  Harness h(every(kEvery));
  h.grant(1, Backing::Direct);
  h.grant(2, Backing::Direct, {kSize, 2 * kSize});
  h.wait(kEvery - Policy{}.recall_deadline);
  h.ask(6, BreakKind::Destructive, {0, kPg});
  h.wait(Policy{}.recall_deadline);
  EXPECT_EQ(h.only<effect::StartFence>().lease, 1u);
  EXPECT_EQ(h.got<effect::SyncDue>().size(), 1u);
  h.wait(Policy{}.fence_deadline);
  h.wait(Policy{}.fence_deadline);  // neither has ended
  h.left(6, kSize);
  sync(h, 7);
  const auto w = h.only<effect::StartWork>();
  EXPECT_EQ(w.lease, 2u);
  h.work_done(w);
  EXPECT_TRUE(h.over(7));
}

// The kernel tells an error once. It has told the daemon, so the daemon tells who asks next.
TEST(Writeback, WhatFailedIsTheNextAnswer) {
  Harness h(every(kEvery));
  h.grant(1, Backing::OdpTransparent);
  h.wait(kEvery);
  sync(h, 7);
  h.work_done(h.only<effect::StartWork>(), EIO);
  h.wait(kEvery);
  sync(h, 8);
  h.work_done(h.only<effect::StartWork>());
  h.ask(9, BreakKind::Sync);
  h.work_done(h.only<effect::StartWork>());
  EXPECT_TRUE(h.answered(9, EIO));
  h.ask(10, BreakKind::Sync);
  h.work_done(h.only<effect::StartWork>());
  EXPECT_TRUE(h.answered(10)) << "once";
}

TEST(Writeback, OneThatIsSlowIsNoFailure) {
  Harness h(every(kEvery));
  h.grant(1, Backing::OdpTransparent);
  h.wait(kEvery);
  sync(h, 7);
  h.wait(Policy{}.work_deadline);
  EXPECT_TRUE(h.over(7));
  h.ask(9, BreakKind::Sync);
  h.work_done(h.only<effect::StartWork>());
  EXPECT_TRUE(h.answered(9));
}

// An operation that does not end: refused, and tried again, without a word to an administrator each time.
TEST(Writeback, ComesAgainAfterARefusal) {
  Harness h(every(kEvery));
  h.grant(1, Backing::OdpTransparent);
  h.truncate(6, kPg);
  h.answer(h.only<effect::Recall>());
  h.wait(kEvery);  // beyond its bound, by far
  sync(h, 7);
  EXPECT_TRUE(h.answered(7, EBUSY));
  EXPECT_TRUE(h.none<effect::Report>());
  h.wait(kEvery);
  EXPECT_EQ(h.only<effect::SyncDue>().file, kFile);
}

}  // namespace
}  // namespace mrlease::core
