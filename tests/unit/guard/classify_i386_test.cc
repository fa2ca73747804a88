// SPDX-License-Identifier: Apache-2.0
// int 0x80 in a 64-bit task: high stack, i386 numbers. None may pass for a read or a write.
#include <gtest/gtest.h>

#include "daemon/guard/classify.h"
#include "tests/unit/guard/i386_numbers.h"

namespace mrlease::guard {
namespace {

#ifdef __x86_64__
TaskFacts task_in(long number) {
  TaskFacts task{sys::TaskStat{'S', 0}, sys::SyscallState{}};
  task.call->number = number;
  task.call->sp = 0x7ffc00000000;
  return task;
}

TEST(ClassifyI386, NoContentCallPassesForAHarmlessOne) {
  FdFacts same{true, 0};
  for (long number : i386_content_calls()) {
    Verdict v = classify({false, true, 8192, 8192, 4096}, task_in(number), same, same);
    EXPECT_EQ(v.kind, core::BreakKind::Destructive) << "i386 system call " << number;
    EXPECT_EQ(v.extent, core::Extent{}) << "i386 system call " << number;
  }
}

TEST(ClassifyI386, NoContentCallReadsOrWrites) {
  for (long number : i386_content_calls()) EXPECT_FALSE(reads_or_writes(*task_in(number).call)) << "i386 system call " << number;
}

TEST(ClassifyI386, EveryOpenIsHeld) {
  for (long number : i386_open_calls())
    EXPECT_TRUE(classify({true, false, 0, 0, 4096}, task_in(number), {}, {}).hold) << "i386 system call " << number;
}
#endif

}  // namespace
}  // namespace mrlease::guard
