// SPDX-License-Identifier: Apache-2.0
#include "daemon/config/settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

namespace mrlease::config {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class SettingsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = ::testing::TempDir() + "mrlease-config-XXXXXX";
    directory = ::mkdtemp(pattern.data());
    line.file = directory + "/mrleased.toml";
  }
  void TearDown() override {
    ::unlink(line.file.c_str());
    ::rmdir(directory.c_str());
  }
  void write(const std::string& text) { std::ofstream(line.file) << text; }

  std::string directory;
  CommandLine line;
};

TEST_F(SettingsTest, TheCommandLineWinsOverTheFileOverTheDefault) {
  write("recall-deadline-ms = 1000\nfence-deadline-ms = 300\n");
  line.values["recall-deadline-ms"] = {"900"};
  const Loaded loaded = load(line);
  ASSERT_TRUE(loaded.settings);
  EXPECT_EQ(loaded.settings->options.session.policy.recall_deadline, 900u);
  EXPECT_EQ(loaded.settings->options.session.policy.fence_deadline, 300u);
  EXPECT_EQ(loaded.settings->options.session.policy.passing_bound, core::Policy{}.passing_bound);
  EXPECT_EQ(loaded.settings->sources.at("recall-deadline-ms"), Source::CommandLine);
  EXPECT_EQ(loaded.settings->sources.at("fence-deadline-ms"), Source::File);
  EXPECT_EQ(loaded.settings->sources.at("socket"), Source::Default);
  EXPECT_EQ(loaded.settings->file, line.file);
}

TEST_F(SettingsTest, EveryProblemIsToldInTheOrderOfTheFile) {
  write("nonsense = 1\nfence-deadline-ms = 3000\nsessions-max = 0\n");
  EXPECT_THAT(load(line).problems,
              ElementsAre(StartsWith(line.file + ":1:1: nonsense: "),
                          line.file + ":2:1: fence-deadline-ms (3000 ms) must be shorter than recall-deadline-ms (2000 ms)",
                          line.file + ":3:16: sessions-max: '0' is not allowed: 1 to 100000"));
  EXPECT_FALSE(load(line).settings);
}

TEST_F(SettingsTest, ARuleIsThePolicyButForWhatItSays) {
  write("on-timeout = 'deny'\n[[rule]]\nuser = ['root', '4711']\nleases = 'read'\nrecall-deadline-ms = 900\n");
  const Loaded loaded = load(line);
  ASSERT_TRUE(loaded.settings) << loaded.problems.front();
  const auto& options = loaded.settings->options.session;
  ASSERT_EQ(options.rules.size(), 1u);
  EXPECT_THAT(options.rules[0].uids, ElementsAre(0u, 4711u));
  EXPECT_EQ(options.rules[0].leases, session::May::Read);
  EXPECT_EQ(options.rules[0].line, 2u);
  EXPECT_EQ(session::terms_of(options.rules[0], options.policy), (core::Terms{900, core::Policy{}.fence_deadline, core::OnTimeout::Deny}));
}

TEST_F(SettingsTest, ARuleLimitsWhatClientsKeep) {
  write("[[rule]]\norphans = 'discard'\norphan-bytes-max = 1048576\norphan-keep-ms = 60000\npeer-budget-ms = 50\n");
  const Loaded loaded = load(line);
  ASSERT_TRUE(loaded.settings) << loaded.problems.front();
  const session::Rule& rule = loaded.settings->options.session.rules.at(0);
  EXPECT_EQ(rule.preserve_orphans, false);
  EXPECT_EQ(rule.orphan_bytes_max, 1048576u);
  EXPECT_EQ(rule.orphan_keep_max, 60000u);
  EXPECT_EQ(rule.peer_budget_max, 50u);
  write("[[rule]]\norphan-bytes-max = 100\n");
  EXPECT_THAT(load(line).problems.at(0), HasSubstr("orphan-bytes-max: '100' is not allowed: 4096 to"));
}

TEST_F(SettingsTest, DeadlinesOfARuleMustNestToo) {
  write("[[rule]]\nrecall-deadline-ms = 400\n[[rule]]\npath = '/x'\nfence-deadline-ms = 2000\n[[rule]]\nuser = 'no-such-user'\n");
  EXPECT_THAT(load(line).problems,
              ElementsAre(line.file + ":1:1: in this rule, fence-deadline-ms (500 ms) must be shorter than recall-deadline-ms (400 ms)",
                          line.file + ":5:1: in this rule, fence-deadline-ms (2000 ms) must be shorter than recall-deadline-ms (2000 ms)",
                          line.file + ":7:1: user: there is no user 'no-such-user'"));
}

TEST_F(SettingsTest, ThereAreNoMoreRulesThanOneCanAsk) {
  std::string text;
  for (int i = 0; i <= 1000; ++i) text += "[[rule]]\n";
  write(text);
  EXPECT_THAT(load(line).problems, ElementsAre(line.file + ":1001:1: rule: 1000 are the limit"));
}

TEST_F(SettingsTest, RulesAreTakenOverWhileItRuns) {
  write("[[rule]]\nleases = 'read'\n");
  Settings current = *load(line).settings;
  write("# a line more\n[[rule]]\nleases = 'read'\n");
  EXPECT_TRUE(take_over(*load(line).settings, &current).changed.empty());
  EXPECT_EQ(current.options.session.rules[0].line, 2u);
  write("[[rule]]\nleases = 'none'\n");
  EXPECT_THAT(take_over(*load(line).settings, &current).changed, ElementsAre("rule"));
  EXPECT_EQ(current.options.session.rules[0].leases, session::May::Nothing);
}

TEST_F(SettingsTest, AFileThatWasAskedForMustBeReadable) {
  EXPECT_THAT(load(line).problems, ElementsAre(EndsWith("mrleased.toml: No such file or directory")));
  ASSERT_EQ(::mkfifo(line.file.c_str(), 0600), 0);  // would keep a reader waiting
  EXPECT_THAT(load(line).problems, ElementsAre(EndsWith("it is not a regular file")));
}

TEST_F(SettingsTest, TheCommandLineIsJudgedToo) {
  write("");
  line.values["recall-deadline-ms"] = {"5"};
  line.values["socket"] = {"/a", "/b"};
  EXPECT_THAT(load(line).problems, ElementsAre("--recall-deadline-ms: '5' is not allowed: 10 to 600000 ms",
                                               "--socket: given more than once"));
}

TEST_F(SettingsTest, AReloadTakesOverWhatMayChangeAndNamesTheRest) {
  write("recall-deadline-ms = 1000\nsocket = '/a'\n");
  Settings current = *load(line).settings;
  write("on-timeout = 'kill'\nsocket = '/b'\nroot = '/srv'\n");
  const Difference d = take_over(*load(line).settings, &current);
  EXPECT_THAT(d.changed, ElementsAre("recall-deadline-ms", "on-timeout"));
  EXPECT_THAT(d.needs_restart, ElementsAre("socket", "root"));
  EXPECT_EQ(current.options.session.policy.recall_deadline, core::Policy{}.recall_deadline);
  EXPECT_EQ(current.sources.at("recall-deadline-ms"), Source::Default);
  EXPECT_EQ(current.options.session.policy.on_timeout, core::OnTimeout::Kill);
  EXPECT_EQ(current.options.socket, "/a");
}

TEST_F(SettingsTest, TheAdminSocketStandsBesideTheClients) {
  Options options;
  EXPECT_EQ(for_admin(options).socket, "/run/mrlease/admin.sock");
  options.socket = "/elsewhere/clients.sock";
  EXPECT_EQ(for_admin(options).socket, "/elsewhere/admin.sock");
  options.admin.socket = "none";
  EXPECT_EQ(for_admin(options).socket, "none");
  EXPECT_TRUE(for_admin(options).healthy);
  options.session.break_something = true;
  EXPECT_FALSE(for_admin(options).healthy);
}

TEST_F(SettingsTest, ZeroBouncePagesMeansHalfOfTheMemory) {
  EXPECT_GT(for_session(Options{}).bounce_bytes_max, 1u << 20);
  Options options;
  options.session.bounce_bytes_max = 4096;
  EXPECT_EQ(for_session(options).bounce_bytes_max, 4096u);
}

}  // namespace mrlease::config
