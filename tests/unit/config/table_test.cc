// SPDX-License-Identifier: Apache-2.0
#include "daemon/config/table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "daemon/config/print.h"

namespace mrlease::config {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(Table, EveryDefaultIsAllowedAndComesBack) {
  for (const Row& row : table()) {
    Options options;
    const auto values = row.get(options);
    for (const auto& v : values) EXPECT_EQ(wrong(row, v), "") << row.name;
    row.set(options, values);
    EXPECT_EQ(row.get(options), values) << row.name;
  }
}

TEST(Table, EveryRowHasANameOfItsOwnAndSaysWhatItIs) {
  std::set<std::string> names;
  for (const Row& row : table()) {
    EXPECT_TRUE(names.insert(row.name).second) << row.name;
    EXPECT_FALSE(row.help.empty()) << row.name;
    EXPECT_EQ(row.hidden, row.group.empty()) << row.name;
  }
}

// A row that writes into another's field would pass every other test.
TEST(Table, EveryRowHasAFieldOfItsOwn) {
  for (const Row& row : table()) {
    Options options;
    const std::string other = row.type == Type::Number ? std::to_string(row.max - 1)
                              : row.type == Type::Word ? row.words.back()
                              : row.type == Type::Flag ? "true"
                                                       : "/other";
    row.set(options, {other});
    EXPECT_EQ(row.get(options), std::vector{other}) << row.name;
    for (const Row& rest : table()) {
      if (rest.name == row.name) continue;
      EXPECT_EQ(rest.get(options), rest.get(Options{})) << row.name << " changes " << rest.name;
    }
  }
}

TEST(Table, EveryKeyOfARuleHasAFieldOfItsOwn) {
  for (const RuleRow& row : rule_table()) {
    session::Rule rule;
    const std::string other = row.type == Type::Number ? std::to_string(row.max - 1) : row.type == Type::Word ? row.words.back() : "/other";
    EXPECT_EQ(wrong(row, other), "") << row.name;
    row.set(rule, {other});
    EXPECT_EQ(row.get(rule), std::vector{other}) << row.name;
    EXPECT_NE(rule, session::Rule{}) << row.name;
    for (const RuleRow& rest : rule_table())
      EXPECT_TRUE(rest.name == row.name || rest.get(rule) == rest.get(session::Rule{})) << row.name << " changes " << rest.name;
  }
}

TEST(Table, WhatIsNotAllowedIsNamedWithWhatIs) {
  const Row& recall = *find_row("recall-deadline-ms");
  EXPECT_EQ(wrong(recall, "2000"), "");
  for (const char* bad : {"9", "600001", "-1", "", "1e3", "20 ", "99999999999999999999"})
    EXPECT_THAT(wrong(recall, bad), HasSubstr("is not allowed: 10 to 600000 ms")) << bad;
  EXPECT_THAT(wrong(*find_row("on-timeout"), "shrug"), HasSubstr("one of fence, deny, kill"));
  EXPECT_THAT(wrong(*find_row("foreground"), "yes"), HasSubstr("true or false"));
  EXPECT_EQ(find_row("nonsense"), nullptr);
}

TEST(Clashes, DefaultDeadlinesNest) { EXPECT_TRUE(nesting_clashes(core::Policy{}, 5000, 45000).empty()); }

TEST(Clashes, AFenceMustBeShorterThanARecall) {
  core::Policy p;
  p.fence_deadline = p.recall_deadline;
  ASSERT_EQ(nesting_clashes(p, 5000, 45000).size(), 1u);
  EXPECT_EQ(nesting_clashes(p, 5000, 45000)[0].name, "fence-deadline-ms");
}

TEST(Clashes, ASyncThatNobodyAskedForMayBeInFront) {
  core::Policy p;
  p.recall_deadline = 40000;
  EXPECT_TRUE(nesting_clashes(p, 5000, 45000).empty());
  p.writeback_interval = 1000;
  ASSERT_EQ(nesting_clashes(p, 5000, 45000).size(), 1u);
  EXPECT_THAT(nesting_clashes(p, 5000, 45000)[0].text, HasSubstr("46000 ms"));
  p = {};
  p.writeback_interval = 99;
  ASSERT_EQ(nesting_clashes(p, 5000, 45000).size(), 1u);
  EXPECT_EQ(nesting_clashes(p, 5000, 45000)[0].text, "writeback-interval-ms (99 ms) must be 0 or at least 100 ms");
}

TEST(Clashes, AllMustEndBeforeTheKernelBreaksALeaseByItself) {
  core::Policy p;
  p.recall_deadline = 44000;
  p.fence_deadline = 500;
  ASSERT_EQ(nesting_clashes(p, 5000, 45000).size(), 1u);
  EXPECT_THAT(nesting_clashes(p, 5000, 45000)[0].text, HasSubstr("lease-break-time"));
  EXPECT_TRUE(nesting_clashes(p, 5000, 46000).empty());
}

TEST(Table, AnAddressHasAHostAndAPort) {
  const Row& row = *find_row("metrics-listen");
  for (const char* good : {"", "127.0.0.1:9464", "[::1]:0", "localhost:65535", "0.0.0.0:1"}) EXPECT_EQ(wrong(row, good), "") << good;
  for (const char* bad : {"localhost", ":80", "a:", "a:65536", "a:-1", "a:1x", "::1:80", "http://a:80", "a:0000080"})
    EXPECT_NE(wrong(row, bad), "") << bad;
}

TEST(Clashes, TcpWantsAllOfTlsAndTlsWantsTcp) {
  admin::Options admin;
  EXPECT_TRUE(tls_clashes(admin).empty());
  admin.listen = "127.0.0.1:1";
  EXPECT_EQ(tls_clashes(admin).size(), 3u);
  admin.tls_cert = admin.tls_key = admin.tls_client_ca = "/f";
  EXPECT_TRUE(tls_clashes(admin).empty());
  admin.listen = "";
  EXPECT_EQ(tls_clashes(admin).size(), 3u);
}

TEST(Print, TheManPageAndTheExampleTellEveryRowAndNoHiddenOne) {
  for (const Row& row : table()) {
    EXPECT_EQ(example_file().find("\n#" + row.name + " = ") != std::string::npos, !row.hidden) << row.name;
  }
  EXPECT_THAT(man_options(), HasSubstr(".B \\-\\-recall\\-deadline\\-ms N\n"));
  EXPECT_THAT(man_options(), HasSubstr("Default: 2000.\n"));
  EXPECT_THAT(man_options(), Not(HasSubstr("break\\-something")));
}

}  // namespace mrlease::config
