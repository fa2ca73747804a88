// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/config/settings.h"

namespace mrlease::config {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class CommandLineTest : public ::testing::Test {
 protected:
  std::optional<CommandLine> parse(std::vector<const char*> words) {
    words.insert(words.begin(), "mrleased");
    ::testing::internal::CaptureStdout();
    ::testing::internal::CaptureStderr();
    auto line = parse_command_line(static_cast<int>(words.size()), words.data(), &status);
    out = ::testing::internal::GetCapturedStdout();
    err = ::testing::internal::GetCapturedStderr();
    return line;
  }
  int status = -1;
  std::string out, err;
};

TEST_F(CommandLineTest, ValuesAreCollected) {
  const auto line = parse({"--on-timeout", "kill", "--root", "/a", "--root=/b", "--foreground", "--config", "/f", "--check-config"});
  ASSERT_TRUE(line);
  EXPECT_EQ(line->file, "/f");
  EXPECT_TRUE(line->check_only);
  EXPECT_THAT(line->values.at("root"), ElementsAre("/a", "/b"));
  EXPECT_THAT(line->values.at("on-timeout"), ElementsAre("kill"));
  EXPECT_THAT(line->values.at("foreground"), ElementsAre("true"));
  EXPECT_EQ(line->values.count("socket"), 0u);
}

TEST_F(CommandLineTest, UnknownOptionsAreRefused) {
  EXPECT_FALSE(parse({"--recal-deadline-ms", "5"}));
  EXPECT_EQ(status, 2);
  EXPECT_THAT(err, HasSubstr("--recal-deadline-ms"));
  EXPECT_FALSE(parse({"stray"}));
  EXPECT_EQ(status, 2);
}

TEST_F(CommandLineTest, HelpTellsRangesAndDefaults) {
  EXPECT_FALSE(parse({"--help"}));
  EXPECT_EQ(status, 0);
  EXPECT_THAT(out, HasSubstr("--recall-deadline-ms"));
  EXPECT_THAT(out, HasSubstr("10 to 600000 ms"));
  EXPECT_THAT(out, HasSubstr("2000"));
  EXPECT_THAT(out, ::testing::Not(HasSubstr("break-something")));
}

}  // namespace mrlease::config
