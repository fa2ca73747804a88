// SPDX-License-Identifier: Apache-2.0
#include "daemon/session/rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

namespace mrlease::session {
namespace {

using ::testing::HasSubstr;

constexpr uid_t kAnn = 1001, kBob = 1002;
constexpr auto kBounce = core::Backing::Bounce, kOdp = core::Backing::OdpTransparent, kDirect = core::Backing::Direct;

Rule rule(const std::string& path, std::vector<uid_t> uids, May leases) {
  Rule r;
  r.path = path;
  for (const uid_t uid : uids) r.users.push_back(std::to_string(uid));
  r.uids = std::move(uids);
  r.leases = leases;
  r.line = 7;
  return r;
}

TEST(Rules, TheFirstThatFitsDecides) {
  const std::vector<Rule> rules = {rule("/srv/db/*", {kAnn}, May::Any), rule("/srv/*", {}, May::Read), rule("", {kBob}, May::Nothing)};
  EXPECT_EQ(judge(rules, "/srv/db/deep/table", kAnn, true, kBounce).rule, 1);
  EXPECT_EQ(judge(rules, "/srv/db/deep/table", kAnn, true, kBounce).refused, "");
  EXPECT_EQ(judge(rules, "/srv/db/table", kBob, false, kBounce).rule, 2);
  EXPECT_EQ(judge(rules, "/srv/db/table", kBob, false, kBounce).refused, "");
  EXPECT_THAT(judge(rules, "/srv/db/table", kBob, true, kBounce).refused, HasSubstr("(line 7 of the daemon's configuration) allows no lease for writing of /srv/db/table"));
  EXPECT_THAT(judge(rules, "/tmp/x", kBob, false, kBounce).refused, HasSubstr("allows no lease of /tmp/x"));
  EXPECT_EQ(judge(rules, "/tmp/x", kAnn, true, kBounce).rule, 0);
  EXPECT_EQ(judge({}, "/tmp/x", kAnn, true, kBounce).refused, "");
}

// An unlinked file, or one that a client has mounted elsewhere, must not be the way around a rule; nor is every such file refused.
TEST(Rules, WhatHasNoNameGetsNoMoreThanAnyPathWould) {
  EXPECT_THAT(judge({rule("/srv/*", {kAnn}, May::Nothing)}, "", kAnn, false, kBounce).refused, HasSubstr("name cannot be told"));
  EXPECT_THAT(judge({rule("/a/*", {}, May::Any), rule("/srv/*", {}, May::Read)}, "", kAnn, true, kBounce).refused, HasSubstr("/srv/*"));
  EXPECT_EQ(judge({rule("/srv/*", {}, May::Read)}, "", kAnn, false, kBounce).refused, "");
  EXPECT_EQ(judge({rule("/srv/*", {kBob}, May::Nothing)}, "", kAnn, true, kBounce).refused, "");
  EXPECT_EQ(judge({rule("/a/*", {}, May::Any), rule("", {}, May::Any)}, "", kAnn, true, kBounce).rule, 2);
}

TEST(Rules, OneBackingAndNoOther) {
  Rule bounce = rule("/srv/*", {}, May::Any), odp = rule("/data/*", {}, May::Read);
  bounce.backing = Only::Bounce;
  odp.backing = Only::Odp;
  const std::vector<Rule> rules = {bounce, odp};
  EXPECT_EQ(judge(rules, "/srv/x", kAnn, true, kBounce).code, 0);
  const Ruling other = judge(rules, "/srv/x", kAnn, true, kOdp);
  EXPECT_EQ(other.code, EOPNOTSUPP);
  EXPECT_THAT(other.refused, HasSubstr("(line 7 of the daemon's configuration) allows no lease of another backing than bounce of /srv/x"));
  EXPECT_EQ(judge(rules, "/srv/x", kAnn, true, kDirect).code, EOPNOTSUPP);
  EXPECT_EQ(judge(rules, "/data/x", kAnn, false, kOdp).code, 0);
  EXPECT_EQ(judge(rules, "/data/x", kAnn, false, core::Backing::OdpCooperative).code, 0);
  EXPECT_EQ(judge(rules, "/data/x", kAnn, false, kBounce).code, EOPNOTSUPP);
  EXPECT_EQ(judge(rules, "/data/x", kAnn, true, kOdp).code, EACCES) << "with no backing";
  EXPECT_EQ(judge(rules, "", kAnn, false, kOdp).code, EOPNOTSUPP) << "it could be /srv's";
}

TEST(Rules, UserfaultfdIsOfTheFirstRuleForEveryFileThatSaysSo) {
  Rule anns = rule("", {kAnn}, May::Any), nobodys = rule("", {}, May::Any), silent = rule("", {}, May::Any);
  anns.userfaultfd = true;
  nobodys.userfaultfd = false;
  const std::vector<Rule> rules = {silent, anns, nobodys};
  EXPECT_EQ(gives_userfaultfd(rules, kAnn), true);
  EXPECT_EQ(gives_userfaultfd(rules, kBob), false);
  EXPECT_EQ(gives_userfaultfd({silent, anns}, kBob), std::nullopt);
  EXPECT_NE(anns, silent) << "a reload has to see it";
}

TEST(Rules, WhatARuleDoesNotSayIsThePolicys) {
  core::Policy policy;
  policy.on_timeout = core::OnTimeout::Deny;
  Rule r;
  EXPECT_EQ(terms_of(r, policy), core::Terms(policy));
  r.recall_deadline = 50;
  EXPECT_EQ(terms_of(r, policy), (core::Terms{50, policy.fence_deadline, core::OnTimeout::Deny}));
}

TEST(Rules, TheLongestDeadlineIsOfTheUsersOwnRules) {
  Rule slow = rule("/slow/*", {kAnn}, May::Any), slower = rule("/slower/*", {kBob}, May::Any);
  slow.recall_deadline = 5000;
  slower.recall_deadline = 9000;
  EXPECT_EQ(longest_recall({slow, slower}, {}, kAnn), 5000u);
  EXPECT_EQ(longest_recall({slow, slower}, {}, 0), core::Policy{}.recall_deadline);
}

}  // namespace
}  // namespace mrlease::session
