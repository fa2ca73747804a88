// SPDX-License-Identifier: Apache-2.0
// A new policy concerns what begins afterwards: what runs keeps its deadlines and its end.
#include "tests/unit/core/harness.h"

namespace mrlease::core {
namespace {

struct NewPolicy : testing::Test, Harness {
  const Policy old;
  Policy fresh;
  void SetUp() override {
    fresh.recall_deadline = old.recall_deadline * 3;
    fresh.fence_deadline = old.fence_deadline * 3;
    fresh.on_timeout = OnTimeout::Kill;
    grant(1, Backing::Direct);
  }
};

TEST_F(NewPolicy, ARecallThatRunsKeepsItsDeadlineAndItsFence) {
  truncate(7, 0);
  const Time sent = now;
  arbiter.set_policy(fresh);
  EXPECT_EQ(arbiter.next_deadline(), sent + old.recall_deadline);
  wait(old.recall_deadline);
  EXPECT_FALSE(only<effect::StartFence>().kill);
  wait(old.fence_deadline);
  EXPECT_TRUE(only<effect::StartFence>().kill);
  wait(old.fence_deadline);  // the bound that the foreign operation was promised
  EXPECT_TRUE(answered(7));
}

TEST_F(NewPolicy, ADenialThatWasPolicyIsStillTheAnswer) {
  Policy deny = old;
  deny.on_timeout = OnTimeout::Deny;
  arbiter.set_policy(deny);
  truncate(7, 0);
  arbiter.set_policy(fresh);
  wait(old.recall_deadline);
  EXPECT_TRUE(none<effect::StartFence>());
  EXPECT_TRUE(answered(7, EBUSY));
}

TEST_F(NewPolicy, TheNextRecallHasTheNewOne) {
  arbiter.set_policy(fresh);
  truncate(7, 0);
  EXPECT_EQ(only<effect::Recall>().deadline, now + fresh.recall_deadline);
  wait(fresh.recall_deadline);
  EXPECT_TRUE(only<effect::StartFence>().kill);
  EXPECT_EQ(arbiter.next_deadline(), now + 2 * fresh.fence_deadline);
}

// Two leases in one break's way, each by its own terms.
TEST_F(NewPolicy, TermsOfALeaseAreItsOwn) {
  const Terms strict{old.recall_deadline / 2, old.fence_deadline / 2, OnTimeout::Kill};
  arbiter.set_policy(old, {strict});
  Lease other = lease(2, Backing::Direct);
  other.terms = 1;
  grant(other);
  truncate(7, 0);
  wait(strict.recall_deadline);
  EXPECT_EQ(only<effect::StartFence>().lease, 2u);
  EXPECT_TRUE(only<effect::StartFence>().kill);
  step(event::FenceDone{2, false});
  wait(old.recall_deadline - strict.recall_deadline);
  EXPECT_EQ(only<effect::StartFence>().lease, 1u);
  EXPECT_FALSE(only<effect::StartFence>().kill);
}

TEST_F(NewPolicy, NewTermsAreOfTheNextRecall) {
  const Terms lenient{old.recall_deadline * 2, old.fence_deadline, OnTimeout::Deny};
  truncate(7, 0);
  arbiter.set_policy(old, {lenient});
  arbiter.set_terms(1, 1);
  EXPECT_EQ(arbiter.next_deadline(), now + old.recall_deadline);
  answer(only<effect::Recall>());
  left(7, kSize);
  EXPECT_EQ(only<effect::Recall>().deadline, now + lenient.recall_deadline);
  answer(only<effect::Recall>());
  truncate(8, 0);
  wait(lenient.recall_deadline);
  EXPECT_TRUE(answered(8, EBUSY));
}

// A rule that is there no more: as the policy has it.
TEST_F(NewPolicy, TermsThatAreGoneAreThePolicys) {
  arbiter.set_terms(1, 3);
  truncate(7, 0);
  EXPECT_EQ(only<effect::Recall>().deadline, now + old.recall_deadline);
}

}  // namespace
}  // namespace mrlease::core
