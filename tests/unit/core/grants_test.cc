// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/core/harness.h"

namespace mrlease::core {
namespace {

struct Grants : testing::Test, Harness {
  Effects& request(const Lease& l) { return step(event::RequestLease{l.id, l}); }
  static Lease exclusive(LeaseId id, bool write, Extent extent = {0, kSize}) {
    Lease l = lease(id, Backing::OdpTransparent, extent);
    l.share = false;
    l.write = write;
    return l;
  }
  Effects& extend(LeaseId id, std::uint64_t size) { return step(event::ExtendLease{90 + id, id, id, size}); }
  // Cuts lease 1 to one page.
  void cut() {
    grant(1, Backing::OdpTransparent);
    truncate(7, kPg);
    answer(only<effect::Recall>());
    left(7, kPg);
    answer(only<effect::Recall>());
    ASSERT_EQ(arbiter.find(1)->on_file_end, kPg);
  }
};

TEST_F(Grants, WhoConflicts) {
  for (int mask = 0; mask < 16; ++mask) {
    Harness h;
    Lease a = exclusive(1, mask & 1);
    Lease b = exclusive(2, mask & 2);
    a.share = mask & 4;
    b.share = mask & 8;
    h.grant(a);
    h.step(event::RequestLease{2, b});
    const bool conflict = (a.write || b.write) && !(a.share && b.share);
    EXPECT_EQ(h.got<effect::Refused>().size(), conflict ? 1u : 0u) << mask;
    EXPECT_EQ(h.got<effect::Granted>().size(), conflict ? 0u : 1u) << mask;
    for (const auto& r : h.got<effect::Refused>()) EXPECT_EQ(r.code, EBUSY);
  }
}

TEST_F(Grants, TheSameSessionNeedsToShareAsWell) {
  Lease a = exclusive(1, true);
  Lease b = exclusive(2, true);
  b.session = a.session;
  grant(a);
  request(b);
  EXPECT_EQ(only<effect::Refused>().code, EBUSY);
}

TEST_F(Grants, NeighboursDoNotConflict) {
  grant(exclusive(1, true, {0, kPg}));
  grant(exclusive(2, true, {kPg, 2 * kPg}));
  Lease other = exclusive(3, true);
  other.file = kOtherFile;
  grant(other);
}

TEST_F(Grants, WhatIsRefused) {
  request(lease(1, Backing::Bounce, {kPg, kPg}));
  EXPECT_EQ(only<effect::Refused>().code, EINVAL);
  grant(1, Backing::Bounce);
  request(lease(1, Backing::Bounce));
  EXPECT_EQ(only<effect::Refused>().code, EEXIST);
}

TEST_F(Grants, AFencedLeaseIsNoConflict) {
  grant(exclusive(1, true));
  truncate(7, 0);
  answer(only<effect::Recall>(), EIO);
  step(event::FenceDone{1, true});
  left(7, kSize);
  grant(exclusive(2, true));
}

TEST_F(Grants, WhatEndsIsWaitedFor) {
  Lease old = exclusive(1, true);
  old.backing = Backing::Bounce;
  grant(old);
  step(event::SessionGone{1});
  const auto flush = only<effect::StartWork>();
  request(exclusive(2, true));
  EXPECT_TRUE(last.empty()) << "the successor of a client that crashed is not refused";
  work_done(flush);
  EXPECT_EQ(only<effect::Granted>().lease, 2u);
}

TEST_F(Grants, BehindAnOverlappingBreakTheyWait) {
  grant(1, Backing::Direct);
  ask(7, BreakKind::Destructive, {0, 4 * kPg});
  const auto r = only<effect::Recall>();
  request(lease(2, Backing::Direct, {0, kPg}));
  EXPECT_TRUE(last.empty());
  grant(3, Backing::Direct, {4 * kPg, 5 * kPg});
  answer(r);
  EXPECT_TRUE(none<effect::Granted>());
  left(7, kSize);
  EXPECT_TRUE(none<effect::Granted>());
  answer(only<effect::Recall>());
  EXPECT_EQ(only<effect::Granted>().lease, 2u);
}

// No lease is touched, so the operation would not be watched; the one that waits is why it has to be.
TEST_F(Grants, TheyDoNotGetAFileThatAnAllowedOperationIsStillChanging) {
  ask(7, BreakKind::Freeze);
  ask(8, BreakKind::Destructive, {0, kPg});
  request(lease(1, Backing::Direct));
  step(event::Thaw{7, 70});
  EXPECT_TRUE(answered(8));
  EXPECT_EQ(only<effect::WatchPassing>().id, 8u);
  EXPECT_TRUE(none<effect::Granted>());
  left(8, kSize);
  EXPECT_EQ(only<effect::Granted>().lease, 1u);
}

// Nobody is in the way of the truncate; who asks for a lease now would be, and would not hear of it.
TEST_F(Grants, TheyDoNotGetWhatATruncateThatNobodyMindedIsCutting) {
  grant(1, Backing::OdpTransparent, {0, 4 * kPg});
  for (const bool told : {true, false}) {
    if (told) truncate(7, 8 * kPg);
    else step(event::RequestBreak{7, kFile, BreakKind::Destructive, {8 * kPg, kToEnd}, 8 * kPg, 0, 0, true, 0, true});
    EXPECT_TRUE(answered(7));
    EXPECT_TRUE(request(lease(2, Backing::OdpTransparent, {8 * kPg, kSize})).empty());
    left(7, 8 * kPg);
    EXPECT_EQ(only<effect::Refused>().code, ERANGE);
    EXPECT_TRUE(over(7));
  }
}

TEST_F(Grants, ReadsAndSyncsAreNotWaitedFor) {
  grant(1, Backing::Bounce);
  ask(7, BreakKind::Read);
  grant(2, Backing::Bounce);
  ask(8, BreakKind::Sync);
  grant(3, Backing::Bounce);
}

TEST_F(Grants, AFreezeIsWaitedForWhileItHolds) {
  ask(7, BreakKind::Freeze);
  request(lease(1, Backing::Bounce));
  EXPECT_TRUE(last.empty());
  step(event::Thaw{7, 70});
  EXPECT_EQ(only<effect::Granted>().lease, 1u);
}

TEST_F(Grants, AFileThatBecameTooSmallMeanwhile) {
  grant(1, Backing::OdpTransparent);
  truncate(7, kPg);
  answer(only<effect::Recall>());
  request(lease(2, Backing::OdpTransparent, {0, 2 * kPg}));
  request(lease(3, Backing::OdpTransparent, {kPg, 2 * kPg}));
  truncate(8, 3 * kPg);
  left(7, 2 * kPg);  // it failed half way
  EXPECT_EQ(arbiter.find(1)->on_file_end, 2 * kPg);
  answer(only<effect::Recall>());
  EXPECT_EQ(only<effect::WatchPassing>().id, 8u);
  const auto granted = got<effect::Granted>();
  ASSERT_EQ(granted.size(), 2u);
  truncate(9, kPg);
  request(lease(4, Backing::OdpTransparent, {0, 2 * kPg}));
  left(8, 2 * kPg);
  for (const auto& r : std::vector(got<effect::Recall>())) answer(r);
  left(9, kPg);
  for (const auto& r : std::vector(got<effect::Recall>())) answer(r);
  EXPECT_EQ(only<effect::Refused>().code, ERANGE);
  EXPECT_EQ(only<effect::Refused>().request, 4u);
}

TEST_F(Grants, ConflictsAreLookedAtAgainAfterTheWait) {
  ask(7, BreakKind::Freeze);
  request(exclusive(1, true));
  request(exclusive(2, true));
  step(event::Thaw{7, 70});
  EXPECT_EQ(only<effect::Granted>().lease, 1u);
  EXPECT_EQ(only<effect::Refused>().request, 2u);
}

TEST_F(Grants, AWaitingRequestGoesWithItsSession) {
  ask(7, BreakKind::Freeze);
  request(exclusive(1, true));
  step(event::SessionGone{1});
  step(event::Thaw{7, 70});
  EXPECT_TRUE(none<effect::Granted>());
  EXPECT_EQ(arbiter.leases(), 0u);
}

TEST_F(Grants, AnExtensionTakesBackWhatTheFileHasAgain) {
  cut();
  extend(1, 4 * kPg);
  EXPECT_EQ(only<effect::Extended>().file_size, 4 * kPg);
  EXPECT_EQ(arbiter.find(1)->on_file_end, 4 * kPg);
  extend(1, 100 * kPg);
  EXPECT_EQ(arbiter.find(1)->on_file_end, kSize);
}

TEST_F(Grants, AnExtensionWaitsForATruncateAndTakesItsSize) {
  cut();
  truncate(8, 2 * kPg);  // touches nothing that is on the file, but the size is going to change
  EXPECT_EQ(only<effect::WatchPassing>().id, 8u);
  extend(1, kSize);
  EXPECT_TRUE(last.empty());
  left(8, 2 * kPg);
  EXPECT_EQ(only<effect::Extended>().file_size, 2 * kPg);
  EXPECT_EQ(arbiter.find(1)->on_file_end, 2 * kPg);
}

TEST_F(Grants, AnExtensionIntoAFrozenRangeWaits) {
  cut();
  ask(8, BreakKind::Freeze);
  answer(only<effect::Recall>());
  extend(1, kSize);
  EXPECT_TRUE(last.empty());
  step(event::Thaw{8, 70});
  answer(only<effect::Recall>());
  EXPECT_EQ(only<effect::Extended>().request, 91u);
}

// What takes a foreign write over into bounce pages cuts off what is beyond the file's end, as that was when it began.
TEST_F(Grants, AnExtensionWaitsForAMergeThatTrims) {
  grant(1, Backing::Bounce);
  truncate(7, 2 * kPg);
  work_done(only<effect::StartWork>());
  left(7, 2 * kPg);
  work_done(only<effect::StartWork>());
  EXPECT_TRUE(over(7));
  ask(8, BreakKind::Write, {0, kPg});
  work_done(only<effect::StartWork>());
  left(8, kSize);
  const auto merge = only<effect::StartWork>();
  EXPECT_EQ(merge.kind, Work::Merge);
  extend(1, kSize);
  EXPECT_TRUE(last.empty());
  work_done(merge);
  EXPECT_EQ(only<effect::Extended>().file_size, kSize);
  EXPECT_EQ(arbiter.find(1)->on_file_end, kSize);
}

TEST_F(Grants, WrongExtensionsAreRefused) {
  cut();
  extend(5, kSize);
  EXPECT_EQ(only<effect::Refused>().code, ENOENT);
  step(event::ExtendLease{1, 1, 9, kSize});
  EXPECT_EQ(only<effect::Refused>().code, EPERM);
  ask(8, BreakKind::Freeze);
  answer(only<effect::Recall>(), EIO);
  step(event::FenceDone{1, true});
  extend(1, kSize);
  EXPECT_EQ(only<effect::Refused>().code, EKEYREVOKED);
}

TEST_F(Grants, AnExtensionWhoseLeaseEndsIsRefused) {
  cut();
  truncate(8, 0);
  extend(1, kSize);
  step(event::ReleaseLease{50, 1, 1});
  EXPECT_EQ(only<effect::Refused>().request, 91u);
}

}  // namespace
}  // namespace mrlease::core
