// SPDX-License-Identifier: Apache-2.0
#include "daemon/session/holders.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>

#include "daemon/sys/proc_task.h"

namespace mrlease::session {
namespace {

class HoldersTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_NE(::mkdtemp(dir_.data()), nullptr); }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  std::string path() const { return dir_ + "/holders"; }
  void put(const std::string& text) const { std::ofstream(path()) << text; }
  std::size_t lines() const {
    std::ifstream file(path());
    return static_cast<std::size_t>(std::count(std::istreambuf_iterator<char>(file), {}, '\n'));
  }
  std::multiset<pid_t> left() const { return Holders(path()).left(); }

  const pid_t self_ = ::getpid(), parent_ = ::getppid();
  const std::string began_ = std::to_string(sys::read_stat(self_)->start);

 private:
  std::string dir_ = testing::TempDir() + "/holders-XXXXXX";
};

TEST_F(HoldersTest, TheNextDaemonFindsThoseThatLive) {
  Holders(path()).note({self_, parent_, self_});
  EXPECT_EQ(left(), (std::multiset<pid_t>{self_, self_, parent_}));
}

TEST_F(HoldersTest, WhoHasGivenItsLastLeaseUpIsNotWaitedFor) {
  Holders holders(path());
  holders.note({self_, parent_, self_});
  holders.note({self_, parent_});
  holders.note({self_});
  EXPECT_EQ(left(), std::multiset<pid_t>{self_});
  holders.note({});
  EXPECT_FALSE(std::filesystem::exists(path()));
}

TEST_F(HoldersTest, AnotherProcessOfTheSameNumberIsNotWaitedFor) {
  put(std::to_string(self_) + ' ' + began_ + "1\n");
  EXPECT_TRUE(left().empty());
  put(std::to_string(self_) + ' ' + began_ + "\n");
  EXPECT_EQ(left(), std::multiset<pid_t>{self_});
}

TEST_F(HoldersTest, WithoutATimeItsNumberIsBelieved) {
  put(std::to_string(self_) + "\n" + std::to_string(parent_) + " 0\n99999999\n");
  EXPECT_EQ(left(), (std::multiset<pid_t>{self_, parent_}));
}

TEST_F(HoldersTest, ALineThatAKillHasCutIsNotBelieved) {
  put(std::to_string(self_) + ' ' + began_);
  EXPECT_TRUE(left().empty());
  Holders holders(path());
  holders.note({parent_});
  EXPECT_EQ(left(), std::multiset<pid_t>{parent_}) << "what came after it is";
}

TEST_F(HoldersTest, WhatAPredecessorNotedIsTakenOver) {
  Holders(path()).note({self_, parent_});
  Holders successor(path());
  successor.note({self_, parent_});
  successor.note({parent_});
  EXPECT_EQ(left(), std::multiset<pid_t>{parent_});
}

// A change costs a line, and the file does not grow by them for ever.
TEST_F(HoldersTest, ManyChangesLeaveAFileOfThoseThatAreThere) {
  Holders holders(path());
  std::size_t most = 0;
  for (int i = 0; i < 1000; i++) {
    holders.note({self_});
    holders.note({self_, parent_});
    most = std::max(most, lines());
  }
  EXPECT_EQ(left(), (std::multiset<pid_t>{self_, parent_}));
  EXPECT_GT(most, 50u) << "lines were added";
  EXPECT_LT(most, 100u);
}

TEST_F(HoldersTest, AFileThatCannotBeWrittenNotesNothing) {
  Holders holders(path() + "/not/there");
  holders.note({self_});
  holders.note({self_, parent_});
  holders.note({});
  EXPECT_TRUE(Holders(path() + "/not/there").left().empty());
}

}  // namespace
}  // namespace mrlease::session
