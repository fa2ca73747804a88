// SPDX-License-Identifier: Apache-2.0
#include "daemon/guard/plain_tasks.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "daemon/guard/classify.h"
#include "tests/unit/guard/numbered_child.h"

namespace mrlease::guard {
namespace {

using test::end, test::fork_as;

// Waits for the child to sleep in it.
bool is_in_pause(PlainTasks* tasks, pid_t child) {
  for (;;) {
    const auto call = tasks->call_of(child);
    if (!call || call->number == SYS_pause) return call.has_value();
    ::sched_yield();
  }
}

TEST(PlainTasks, AnothersCallIsToldAgainAndAgain) {
  PlainTasks tasks;
  const pid_t child = fork_as(0);
  ASSERT_GT(child, 0);
  EXPECT_TRUE(is_in_pause(&tasks, child));
  EXPECT_TRUE(is_in_pause(&tasks, child));
  EXPECT_FALSE(reads_or_writes(*tasks.call_of(child)));
  end(child);
  EXPECT_FALSE(tasks.call_of(child));
}

TEST(PlainTasks, TheNextOneOfTheSameNumber) {
  PlainTasks tasks;
  const pid_t number = fork_as(0);
  ASSERT_GT(number, 0);
  EXPECT_TRUE(is_in_pause(&tasks, number));
  end(number);
  for (int i = 0; i < 2; i++) {
    ASSERT_EQ(fork_as(number), number) << std::strerror(errno);
    EXPECT_TRUE(is_in_pause(&tasks, number));
    end(number);
    EXPECT_FALSE(tasks.call_of(number));
  }
}

TEST(PlainTasks, MoreThanAreRemembered) {
  PlainTasks tasks;
  std::array<pid_t, 20> children{};
  for (pid_t& child : children) ASSERT_GT(child = fork_as(0), 0);
  for (int i = 0; i < 2; i++)
    for (const pid_t child : children) EXPECT_TRUE(is_in_pause(&tasks, child));
  for (const pid_t child : children) end(child);
}

TEST(PlainTasks, NativeReadsAndWritesAlone) {
  sys::SyscallState call;
  call.sp = 0x7ffc3aa0b418;
  for (const long number : {SYS_read, SYS_pread64, SYS_mmap, SYS_write, SYS_pwritev2}) {
    call.number = number;
    EXPECT_TRUE(reads_or_writes(call)) << number;
  }
  for (const long number : {SYS_ftruncate, SYS_fallocate, SYS_copy_file_range, SYS_sendfile, SYS_ioctl, SYS_madvise, SYS_openat}) {
    call.number = number;
    EXPECT_FALSE(reads_or_writes(call)) << number;
  }
  call.number = SYS_read;
  call.sp = 0xffdc1000;  // a 32-bit task's, whose numbers are others
  EXPECT_FALSE(reads_or_writes(call));
  call.sp = 0x7ffc3aa0b418;
  call.running = true;
  EXPECT_FALSE(reads_or_writes(call));
  call = {};
  EXPECT_FALSE(reads_or_writes(call));
}

}  // namespace
}  // namespace mrlease::guard
