// SPDX-License-Identifier: Apache-2.0
#include "daemon/session/takeover.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace mrlease::session {
namespace {

using core::Action;
using core::BreakKind;
using core::Extent;

constexpr core::FileKey kTakenOver{8, 100};

TEST(SecondHalves, NothingWasBegunOnALeaseThatIsWhole) {
  EXPECT_TRUE(second_halves(kTakenOver, 8192, {{1, {0, 8192}, 8192, false, true, false, {}}}).empty());
}

TEST(SecondHalves, WhatWasQuiescedOrTrimmedComesBackByTheFilesSize) {
  const auto out = second_halves(kTakenOver, 4096, {{1, {0, 8192}, 8192, false, true, true, {}},
                                                    {2, {0, 8192}, 8192, false, true, false, {{{4096, 8192}, true}}}});
  ASSERT_EQ(out.size(), 1u);
  EXPECT_EQ(out[0].kind, BreakKind::Truncate);
  EXPECT_EQ(out[0].file_size, 4096u);
  ASSERT_EQ(out[0].parts.size(), 2u);
  EXPECT_EQ(out[0].parts[0].extent, (Extent{0, 8192}));
  EXPECT_EQ(out[0].parts[1].extent, (Extent{4096, 8192}));
}

TEST(SecondHalves, BounceIsTrimmedAndMergedWhateverWasBegun) {
  const auto out = second_halves(kTakenOver, 8192, {{1, {0, 8192}, 8192, true, true, false, {}}, {2, {0, 8192}, 8192, true, false, false, {}}});
  ASSERT_EQ(out.size(), 2u);
  EXPECT_EQ(out[0].kind, BreakKind::Truncate);
  EXPECT_EQ(out[0].parts.size(), 2u);
  EXPECT_EQ(out[1].kind, BreakKind::Write);
  ASSERT_EQ(out[1].parts.size(), 1u);  // for a reader there is nothing to merge
  EXPECT_EQ(out[1].parts[0].lease, 1u);
}

TEST(SecondHalves, AFrozenStoreIsThawedUnlessItsFreezeGoesOn) {
  const LeftLease left{1, {0, 8192}, 8192, false, true, false, {{{0, 8192}, false, false}}};
  LeftLease frozen = left;
  frozen.stores.front().frozen = true;
  ASSERT_EQ(second_halves(kTakenOver, 8192, {left}).size(), 1u);
  EXPECT_EQ(second_halves(kTakenOver, 8192, {left})[0].kind, BreakKind::Freeze);
  EXPECT_EQ(second_halves(kTakenOver, 8192, {left})[0].hold, 0u);
  EXPECT_TRUE(second_halves(kTakenOver, 8192, {frozen}).empty());
}

TEST(FrozenParts, BounceIsFrozenAsAWholeOthersByTheirStores) {
  const auto parts = frozen_parts({0, 4096}, {{1, {0, 8192}, 8192, true, true, false, {}},
                                              {2, {0, 8192}, 8192, false, true, false, {{{0, 4096}, false, true}, {{4096, 8192}, true}}},
                                              {3, {4096, 8192}, 8192, true, true, false, {}}});
  ASSERT_EQ(parts.size(), 2u);
  EXPECT_EQ(parts[0].extent, (Extent{0, 8192}));
  EXPECT_EQ(parts[1].lease, 2u);
  EXPECT_EQ(parts[1].extent, (Extent{0, 4096}));
}

// It was granted beside another one, which has the lease: its thaw would end that one's stillness.
TEST(FrozenParts, AFreezeThatReachesALeaseBeyondTheFilesEndHasNothingOfIt) {
  const std::vector<LeftLease> left{{1, {0, 16384}, 4096, false, true, false, {{{0, 4096}, false, true}}}, {2, {0, 16384}, 4096, true, true, false, {}}};
  EXPECT_TRUE(frozen_parts({8192, 16384}, left).empty());
  EXPECT_EQ(frozen_parts({0, 4096}, left).size(), 2u);
}

TEST(FrozenParts, NorOneThatBeginsWhereTheLeaseEndsWithinAPage) {
  const std::vector<LeftLease> left{{1, {0, 4000}, 4000, false, true, false, {{{0, 4096}, false, true}}}, {2, {0, 4000}, 4000, true, true, false, {}}};
  EXPECT_TRUE(frozen_parts({4000, 8192}, left).empty());
  EXPECT_EQ(frozen_parts({0, 4000}, left).size(), 2u);
}

TEST(Inherited, LeasesThatCouldNotBeRevokedGetBackWhatTheyCanHaveWhenTheLastHasLeft) {
  constexpr core::FileKey other{8, 200};
  Inherited inherited;
  inherited.inside(1, kTakenOver);
  inherited.inside(2, kTakenOver);
  inherited.inside(3, other);
  inherited.revokes(10, kTakenOver);
  inherited.revokes(11, other);
  inherited.answered(10, EBUSY);
  inherited.answered(11, 0);
  inherited.answered(12, EBUSY);  // nobody's
  EXPECT_TRUE(inherited.changes(kTakenOver));
  EXPECT_EQ(inherited.over(10), std::nullopt);
  EXPECT_EQ(inherited.over(1), std::nullopt);
  EXPECT_EQ(inherited.over(3), std::nullopt) << "they have ended";
  EXPECT_FALSE(inherited.changes(other));
  EXPECT_EQ(inherited.over(2), kTakenOver);
  EXPECT_FALSE(inherited.changes(kTakenOver));
}

TEST(Credited, NobodyHasCompliedWhoseMemoryRegionsAreThere) {
  EXPECT_EQ(credited(Action::Quiesce, 0, true), EBUSY);
  EXPECT_EQ(credited(Action::Release, 0, true), EBUSY);
  EXPECT_EQ(credited(Action::Quiesce, 0, false), 0);
  EXPECT_EQ(credited(Action::Freeze, 0, true), 0);
  EXPECT_EQ(credited(Action::Quiesce, EIO, true), EIO);
}

// Somebody has made the file shorter, and no guard saw it: the arbiter goes on protecting what the lease had, and so must a successor.
TEST(Takeover, AnExtensionNeverTellsLessThanBefore) {
  const core::Extent lease{4096, 65536};
  EXPECT_EQ(told_extended(8192, lease, 16384), 16384u);
  EXPECT_EQ(told_extended(8192, lease, 1 << 20), 65536u);
  EXPECT_EQ(told_extended(16384, lease, 8192), 16384u);
  EXPECT_EQ(told_extended(16384, lease, 0), 16384u);
}

}  // namespace
}  // namespace mrlease::session
