// SPDX-License-Identifier: Apache-2.0
#include "daemon/session/account.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

namespace mrlease::session {
namespace {

using testing::HasSubstr;

TEST(AccountTest, AChargeCountsUntilItsLastCopyIsGone) {
  Accounts accounts;
  Charge one = accounts.charge(7, {.leases = 1, .bounce_bytes = 4096, .descriptors = 3});
  const Charge other = accounts.charge(7, {.leases = 1});
  Charge copy = one;
  one.reset();
  EXPECT_EQ(accounts.of(7).leases, 2u);
  std::thread([last = std::move(copy)] {}).join();  // as a worker that closes what was charged
  EXPECT_EQ(accounts.of(7).leases, 1u);
  EXPECT_EQ(accounts.of(7).bounce_bytes, 0u);
  EXPECT_EQ(accounts.of(7).descriptors, 0u);
  EXPECT_EQ(accounts.of(8).leases, 0u);
}

TEST(AccountTest, AChargeOutlivesTheAccounts) {
  auto accounts = std::make_unique<Accounts>();
  Charge charge = accounts->charge(7, {.recalls = 1});
  accounts->forget_unused();
  EXPECT_EQ(accounts->of(7).recalls, 1u);
  accounts.reset();
  charge.reset();
}

TEST(AccountTest, EachLimitCountsAndSaysWhichItIs) {
  Options limits;
  limits.sessions_max = 1;
  limits.leases_max = 2;
  limits.bounce_bytes_max = 8192;
  limits.descriptors_max = 4;
  limits.recalls_max = 5;
  const Usage full{1, 2, 8192, 4, 5};
  EXPECT_EQ(check_quota({}, full, limits).code, 0);
  EXPECT_EQ(check_quota(full, {}, limits).code, 0);
  const auto why = [&](const Usage& more) {
    const Verdict v = check_quota(full, more, limits);
    EXPECT_EQ(v.code, EDQUOT);
    return v.message;
  };
  EXPECT_THAT(why({.sessions = 1}), HasSubstr("--sessions-max"));
  EXPECT_THAT(why({.bounce_bytes = 1}), HasSubstr("--bounce-bytes-max"));
  EXPECT_THAT(why({.descriptors = 1}), HasSubstr("--descriptors-max"));
  EXPECT_THAT(why({.recalls = 1}), HasSubstr("--recalls-max"));
  EXPECT_EQ(why({.leases = 1}), "the user's clients have 2 leases, and 1 more would exceed 2 (--leases-max)");
  // Who has more than a limit that was lowered, or asks for all that a number can say.
  EXPECT_EQ(check_quota({.leases = 3}, {.leases = 1}, limits).code, EDQUOT);
  EXPECT_EQ(check_quota({.bounce_bytes = 1}, {.bounce_bytes = ~0ull}, limits).code, EDQUOT);
}

}  // namespace
}  // namespace mrlease::session
