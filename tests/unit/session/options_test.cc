// SPDX-License-Identifier: Apache-2.0
#include "daemon/loop/options.h"

#include <gtest/gtest.h>

namespace mrlease::loop {

TEST(Options, DefaultDeadlinesNest) { EXPECT_EQ(nesting_error(core::Policy{}, 45000), ""); }

TEST(Options, AFenceMustBeShorterThanARecall) {
  core::Policy p;
  p.fence_deadline = p.recall_deadline;
  EXPECT_NE(nesting_error(p, 45000).find("fence-deadline-ms"), std::string::npos);
}

TEST(Options, AllMustEndBeforeTheKernelBreaksALeaseByItself) {
  core::Policy p;
  p.recall_deadline = 44000;
  p.fence_deadline = 500;
  EXPECT_NE(nesting_error(p, 45000).find("lease-break-time"), std::string::npos);
  EXPECT_EQ(nesting_error(p, 46000), "");
}

TEST(Options, WordsAreReadAndBadOnesRefused) {
  int status = 0;
  const char* good[] = {"mrleased", "--on-timeout", "kill", "--freeze-conflict", "allow", "--root", "/a", "--root", "/b"};
  const auto options = parse(9, const_cast<char**>(good), &status);
  ASSERT_TRUE(options);
  EXPECT_EQ(options->session.policy.on_timeout, core::OnTimeout::Kill);
  EXPECT_EQ(options->session.policy.freeze_conflict, core::FreezeConflict::Allow);
  EXPECT_EQ(options->roots.size(), 2u);
  const char* bad[] = {"mrleased", "--on-timeout", "shrug"};
  EXPECT_FALSE(parse(3, const_cast<char**>(bad), &status));
  EXPECT_EQ(status, 2);
}

}  // namespace mrlease::loop
