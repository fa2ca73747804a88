// SPDX-License-Identifier: Apache-2.0
#include "daemon/session/translate.h"

#include <gtest/gtest.h>

#include <set>

namespace mrlease::session {

namespace v1 = wire::v1;

TEST(Translate, BackingsGoBothWaysAndAutoIsNone) {
  for (int b = 0; b < core::kBackings; b++) {
    const auto backing = static_cast<core::Backing>(b);
    EXPECT_EQ(to_core(to_wire(backing)), backing);
  }
  EXPECT_FALSE(to_core(v1::BACKING_AUTO));
  EXPECT_FALSE(to_core(static_cast<v1::Backing>(99)));
}

TEST(Translate, EveryActionAndReasonHasItsOwnWord) {
  std::set<int> actions, reasons;
  for (int a = 0; a <= static_cast<int>(core::Action::Release); a++) actions.insert(to_wire(static_cast<core::Action>(a)));
  EXPECT_EQ(actions.size(), static_cast<std::size_t>(core::Action::Release) + 1);
  for (int k = 0; k < core::kBreakKinds; k++) reasons.insert(to_wire(static_cast<core::BreakKind>(k)));
  EXPECT_EQ(reasons.size(), static_cast<std::size_t>(core::kBreakKinds));
  EXPECT_EQ(reasons.count(v1::REASON_UNKNOWN), 0u);
}

TEST(Translate, RangesEndWhereTheySayAndNeverOverflow) {
  v1::Range range;
  range.set_offset(4096);
  EXPECT_EQ(to_core(range)->end, core::kToEnd);
  range.set_length(10);
  EXPECT_EQ(*to_core(range), (core::Extent{4096, 4106}));
  range.set_length(core::kToEnd - 4096);
  EXPECT_TRUE(to_core(range));
  range.set_length(core::kToEnd - 4095);
  EXPECT_FALSE(to_core(range));
}

TEST(Translate, OfARuleWhatTheClientIsToKeepTo) {
  v1::Granted none, all;
  limit({}, &none);
  EXPECT_EQ(none.ByteSizeLong(), 0u);
  Rule rule;
  rule.preserve_orphans = false;
  rule.orphan_bytes_max = 8192;
  rule.orphan_keep_max = 5;
  rule.peer_budget_max = 7;
  limit(rule, &all);
  EXPECT_TRUE(all.discard_orphans());
  EXPECT_EQ(all.orphan_bytes_max(), 8192u);
  EXPECT_EQ(all.orphan_keep_ms_max(), 5u);
  EXPECT_EQ(all.peer_budget_ms_max(), 7u);
}

}  // namespace mrlease::session
