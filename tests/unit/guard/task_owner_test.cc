// SPDX-License-Identifier: Apache-2.0
#include "daemon/sys/task_owner.h"

#include <gtest/gtest.h>
#include <unistd.h>

namespace mrlease::sys {
namespace {

TEST(TaskOwner, TheProcessAndTheEffectiveIds) {
  TaskOwner owner;
  ASSERT_TRUE(parse_owner("Name:\ta b\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t77\nNgid:\t0\nPid:\t78\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\n", &owner));
  EXPECT_EQ(owner.comm, "a b");
  EXPECT_EQ(owner.pid, 77);
  EXPECT_EQ(owner.uid, 2u);
  EXPECT_EQ(owner.real_uid, 1u);
  EXPECT_EQ(owner.saved_uid, 3u);
  EXPECT_EQ(owner.gid, 6u);
  EXPECT_FALSE(parse_owner("Name:\tx\nTgid:\t77\n", &owner));
  EXPECT_FALSE(parse_owner("", &owner));
}

TEST(TaskOwner, OfThisVeryProcess) {
  TaskOwner owner;
  ASSERT_TRUE(read_owner(::gettid(), &owner));
  EXPECT_EQ(owner.pid, ::getpid());
  EXPECT_EQ(owner.uid, ::geteuid());
  EXPECT_FALSE(read_owner(0x7ffffffe, &owner));
}

}  // namespace
}  // namespace mrlease::sys
