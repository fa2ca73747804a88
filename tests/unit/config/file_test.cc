// SPDX-License-Identifier: Apache-2.0
#include "daemon/config/file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/config/print.h"
#include "daemon/config/table.h"

namespace mrlease::config {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string only_problem(std::string_view text) {
  const FileContent content = parse_file(text);
  EXPECT_EQ(content.problems.size(), 1u) << text;
  if (content.problems.empty()) return {};
  const auto& p = content.problems[0];
  return std::to_string(p.place.line) + ":" + std::to_string(p.place.column) + ": " + p.text;
}

TEST(ConfigFile, EveryTypeIsRead) {
  const FileContent content = parse_file(
      "recall-deadline-ms = 1_000\nforeground = true\nsocket = \"/a\"\non-timeout = 'deny'\nroot = [\"/x\", \"/y\"]\n");
  EXPECT_TRUE(content.problems.empty());
  EXPECT_THAT(content.values.at("recall-deadline-ms").texts, ElementsAre("1000"));
  EXPECT_THAT(content.values.at("foreground").texts, ElementsAre("true"));
  EXPECT_THAT(content.values.at("socket").texts, ElementsAre("/a"));
  EXPECT_THAT(content.values.at("on-timeout").texts, ElementsAre("deny"));
  EXPECT_THAT(content.values.at("root").texts, ElementsAre("/x", "/y"));
  EXPECT_EQ(content.values.at("root").place, (Place{5, 1}));
  EXPECT_THAT(parse_file("root = \"/x\"").values.at("root").texts, ElementsAre("/x"));
  EXPECT_TRUE(parse_file("root = []").values.at("root").texts.empty());
}

TEST(ConfigFile, MistakesAreToldWithTheirPlace) {
  EXPECT_EQ(only_problem("\nrecal-deadline-ms = 5"), "2:1: recal-deadline-ms: there is no such key; is recall-deadline-ms meant?");
  EXPECT_EQ(only_problem("colour = 5"), "1:1: colour: there is no such key; mrleased --help lists them");
  EXPECT_EQ(only_problem("recall-deadline-ms = 5"), "1:22: recall-deadline-ms: '5' is not allowed: 10 to 600000 ms");
  EXPECT_EQ(only_problem("recall-deadline-ms = -5"), "1:22: recall-deadline-ms: '-5' is not allowed: 10 to 600000 ms");
  EXPECT_EQ(only_problem("recall-deadline-ms = \"2 s\""),
            "1:22: recall-deadline-ms: a string is not allowed: a whole number, 10 to 600000 ms");
  EXPECT_THAT(only_problem("foreground = 1"), HasSubstr("1:14: foreground: a number is not allowed: true or false"));
  EXPECT_THAT(only_problem("socket = 1.5"), HasSubstr("a number with a fraction is not allowed: a string"));
  EXPECT_THAT(only_problem("root = [\"/a\",\n 7]"), HasSubstr("2:2: root: a number is not allowed"));
  EXPECT_THAT(only_problem("[deadlines]\nx = 1"), HasSubstr("1:2: [deadlines]: there is no such section"));
  EXPECT_THAT(only_problem("socket = "), HasSubstr("1:10: not TOML: "));
  EXPECT_THAT(only_problem("socket = 'a'\nsocket = 'b'"), HasSubstr("not TOML: "));
  EXPECT_THAT(only_problem("break-something = true"), HasSubstr("there is no such key"));
}

TEST(ConfigFile, RulesAreSectionsInTheirOrder) {
  const FileContent content = parse_file("log-level = 'info'\n[[rule]]\npath = '/a/*'\n\n[[rule]]\nuser = ['root', '7']\nrecall-deadline-ms = 50\n");
  EXPECT_TRUE(content.problems.empty());
  ASSERT_EQ(content.rules.size(), 2u);
  EXPECT_THAT(content.rules[0].values.at("path").texts, ElementsAre("/a/*"));
  EXPECT_EQ(content.rules[0].place.line, 2u);
  EXPECT_THAT(content.rules[1].values.at("user").texts, ElementsAre("root", "7"));
  EXPECT_EQ(content.rules[1].values.at("recall-deadline-ms").place, (Place{7, 1}));
}

TEST(ConfigFile, MistakesInRulesAreToldWithTheirPlace) {
  EXPECT_EQ(only_problem("[[rule]]\nlease = 'any'"), "2:1: lease: there is no such key; is leases meant?");
  EXPECT_EQ(only_problem("[[rule]]\nroot = '/x'"), "2:1: root: there is no such key; mrleased --help lists them");
  EXPECT_EQ(only_problem("[[rule]]\nleases = 'some'"), "2:10: leases: 'some' is not allowed: one of any, read, none");
  EXPECT_EQ(only_problem("[[rule]]\nrecall-deadline-ms = 5"), "2:22: recall-deadline-ms: '5' is not allowed: 10 to 600000 ms");
  EXPECT_THAT(only_problem("[rule]\npath = '/x'"), HasSubstr("1:2: rule: each rule is a section of its own, [[rule]]"));
  EXPECT_THAT(only_problem("rule = [1]"), HasSubstr("each rule is a section of its own"));
  EXPECT_THAT(only_problem("path = '/x'"), HasSubstr("path: there is no such key"));
}

// What toml++ takes for impossible; seen by the sanitizers' build and by tests/fuzz.
TEST(ConfigFile, AnUmlautWithoutQuotesIsAMistake) {
  EXPECT_THAT(only_problem("on-timeout = \u00e4"), HasSubstr("1:14: not TOML: "));
  EXPECT_THAT(only_problem("on-timeout = \u02e0x"), HasSubstr("not TOML: "));
  EXPECT_THAT(only_problem("\u00e4 = 1"), HasSubstr("not TOML: "));
}

TEST(ConfigFile, WhatTheParserAssertsIsAMistake) {
  EXPECT_THAT(only_problem("socket = '/a'\n[ = 5"), HasSubstr("not TOML"));
}

TEST(ConfigFile, EveryMistakeIsTold) {
  EXPECT_EQ(parse_file("a = 1\nb = 2\nleases-max = 0\nsocket = ''\n").problems.size(), 4u);
}

TEST(ConfigFile, TheExampleIsAllDefaults) {
  EXPECT_TRUE(parse_file(example_file()).values.empty());
  std::string live;
  std::istringstream lines(example_file());
  for (std::string line; std::getline(lines, line);)
    live += (line.size() > 1 && line[0] == '#' && line[1] != ' ' && line[1] != '#' ? line.substr(1) : line) + "\n";
  const FileContent content = parse_file(live);
  EXPECT_TRUE(content.problems.empty()) << content.problems[0].text;
  for (const Row& row : table()) {
    if (row.hidden) continue;
    ASSERT_TRUE(content.values.count(row.name)) << row.name;
    EXPECT_EQ(content.values.at(row.name).texts, row.get(Options{})) << row.name;
  }
}

}  // namespace mrlease::config
