// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client-lib/src/probe/probe.h"

namespace mrlease::client {
namespace {
using ::testing::HasSubstr;

struct Row {
  mrl_backing wanted;
  std::uint32_t quirks;
  int odp;
  bool waits, userfaultfd;
  int code;
  mrl_backing backing;
  bool transparent;
};

TEST(ChooseBacking, RowByRow) {
  const auto kQuirk = MRL_QUIRK_ODP_PAGE_ALIGNED;
  const Row rows[] = {
      {MRL_BACKING_AUTO, 0, 0, false, true, 0, MRL_BACKING_BOUNCE, false},
      {MRL_BACKING_AUTO, 0, 2, true, true, 0, MRL_BACKING_BOUNCE, false},
      {MRL_BACKING_AUTO, kQuirk, 2, true, true, 0, MRL_BACKING_ODP, true},
      {MRL_BACKING_AUTO, 0, 1, true, true, 0, MRL_BACKING_ODP, true},
      {MRL_BACKING_AUTO, 0, 1, false, true, 0, MRL_BACKING_ODP_COOPERATIVE, false},
      {MRL_BACKING_AUTO, 0, 1, true, false, 0, MRL_BACKING_ODP_COOPERATIVE, false},
      {MRL_BACKING_ODP, 0, 2, true, true, EOPNOTSUPP, MRL_BACKING_AUTO, false},
      {MRL_BACKING_ODP, kQuirk, 0, true, true, EOPNOTSUPP, MRL_BACKING_AUTO, false},
      {MRL_BACKING_ODP, kQuirk, 2, true, true, 0, MRL_BACKING_ODP, true},
      {MRL_BACKING_ODP_COOPERATIVE, 0, 1, true, true, 0, MRL_BACKING_ODP_COOPERATIVE, false},
      {MRL_BACKING_ODP_COOPERATIVE, 0, 2, true, true, EOPNOTSUPP, MRL_BACKING_AUTO, false},
      {MRL_BACKING_DIRECT, 0, 0, false, false, 0, MRL_BACKING_DIRECT, false},
      {MRL_BACKING_BOUNCE, 0, 1, true, true, 0, MRL_BACKING_BOUNCE, false},
  };
  for (const Row& r : rows) {
    DeviceCaps caps;
    caps.odp = r.odp;
    caps.waits = r.waits;
    caps.odp_text = "tried";
    Choice choice;
    const Outcome o = choose_backing(r.wanted, r.quirks, caps, r.userfaultfd, &choice);
    EXPECT_EQ(o.code, r.code) << "row " << (&r - rows);
    if (!o.ok()) {
      EXPECT_THAT(o.text, HasSubstr("MRL_BACKING_BOUNCE"));
      continue;
    }
    EXPECT_EQ(choice.backing, r.backing) << "row " << (&r - rows);
    EXPECT_EQ(choice.transparent, r.transparent) << "row " << (&r - rows);
    EXPECT_FALSE(choice.reason.empty());
  }
}

}  // namespace
}  // namespace mrlease::client
