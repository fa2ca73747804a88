// SPDX-License-Identifier: Apache-2.0
#include "daemon/sys/proc_task.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <thread>

#include "daemon/sys/fd.h"
#include "tests/unit/guard/numbered_child.h"

namespace mrlease::sys {
namespace {

TEST(ParseSyscall, InACall) {
  auto s = parse_syscall("77 0x3 0x2000 0x0 0x0 0xffffffffffffffff 0x5 0x7ffc3aa0b418 0x7f1c2d5147e7\n");
  ASSERT_TRUE(s);
  EXPECT_FALSE(s->running);
  EXPECT_EQ(s->number, 77);
  EXPECT_EQ(s->args, (std::array<std::uint64_t, 6>{3, 0x2000, 0, 0, ~0ull, 5}));
  EXPECT_EQ(s->sp, 0x7ffc3aa0b418u);
  EXPECT_EQ(s->pc, 0x7f1c2d5147e7u);
}

TEST(ParseSyscall, RunningAndOutside) {
  EXPECT_TRUE(parse_syscall("running\n")->running);
  auto outside = parse_syscall("-1 0x7ffc3aa0b418 0x7f1c2d5147e7\n");
  ASSERT_TRUE(outside);
  EXPECT_EQ(outside->number, -1);
  EXPECT_EQ(outside->sp, 0x7ffc3aa0b418u);
}

TEST(ParseSyscall, NonsenseIsNothing) {
  for (const char* text : {"", "\n", "77", "77 0x3", "x 0x1 0x2", "5 0x1 0x2", "77 0x3 0x2 0x1 0x0 0x0 0x0 zz 0x1",
                           "-1 0x3 0x2 0x1 0x0 0x0 0x0 0x1 0x1", "77 0x3 0x2 0x1 0x0 0x0 0x0 0x1 0x1 0x1"})
    EXPECT_FALSE(parse_syscall(text)) << text;
}

constexpr const char* kStat =
    "4242 (evil) R 1 ) S 1 4242 4242 0 -1 2097216 117 0 0 0 31 42 0 0 20 0 1 0 987654 4096 200 18446744073709551615 1 1\n";

TEST(ParseStat, TheNameMayHoldAnything) {
  auto s = parse_stat(kStat);
  ASSERT_TRUE(s);
  EXPECT_EQ(s->state, 'S');
  EXPECT_EQ(s->flags, 2097216u);
  EXPECT_EQ(s->utime, 31u);
  EXPECT_EQ(s->stime, 42u);
  EXPECT_EQ(s->start, 987654u);
  EXPECT_EQ(s->comm, "evil) R 1 ");
}

TEST(ParseStat, CutOffIsNothing) {
  EXPECT_FALSE(parse_stat(""));
  EXPECT_FALSE(parse_stat("4242 (x) S 1 2"));
  EXPECT_FALSE(parse_stat("4242 x S 1 4242 4242 0 -1 64 117 0 0 0 31 42 0 0 20 0 1 0 987654 4096 200"));
}

TEST(ParseFdinfo, FlagsAreOctal) {
  auto f = parse_fdinfo("pos:\t0\nflags:\t02140002\nmnt_id:\t29\nino:\t1310\n");
  ASSERT_TRUE(f);
  EXPECT_EQ(f->flags, 02140002u);
  EXPECT_EQ(f->mount, 29u);
  EXPECT_EQ(f->inode, 1310u);
  EXPECT_FALSE(parse_fdinfo("pos:\t0\nflags:\t02140002\nmnt_id:\t29\n"));
}

TEST(ReadTask, Itself) {
  auto stat = read_stat(::gettid());
  ASSERT_TRUE(stat);
  EXPECT_EQ(stat->state, 'R');
  EXPECT_GT(stat->start, 0u);
  EXPECT_TRUE(is_own_thread(::gettid()));
  EXPECT_FALSE(is_own_thread(1));
  EXPECT_FALSE(is_own_thread(0));
  EXPECT_NE(read_comm(::gettid()), "?");
  EXPECT_EQ(stat->comm, read_comm(::gettid()));
}

TEST(ReadTask, ItsDescriptors) {
  Fd fd(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  struct stat st;
  ASSERT_EQ(::fstat(fd.get(), &st), 0);
  auto info = read_fdinfo(::gettid(), fd.get());
  ASSERT_TRUE(info);
  EXPECT_EQ(info->inode, st.st_ino);
  EXPECT_FALSE(info->flags & O_DIRECT);
  EXPECT_FALSE(read_fdinfo(::gettid(), 1000000));
}

// What is read again is the descriptor that has the number now.
TEST(ReadFdinfo, ANumberThatIsUsedAgain) {
  Fd one(::open("/proc/self/maps", O_RDONLY | O_CLOEXEC)), other(::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const auto before = read_fdinfo(::gettid(), one.get());
  ASSERT_EQ(::dup3(other.get(), one.get(), O_CLOEXEC), one.get());
  const auto after = read_fdinfo(::gettid(), one.get()), its = read_fdinfo(::gettid(), other.get());
  ASSERT_TRUE(before && after && its);
  EXPECT_NE(before->mount, after->mount);
  EXPECT_EQ(after->mount, its->mount);
  EXPECT_EQ(after->inode, its->inode);
  const int number = one.get();
  one.reset();
  EXPECT_FALSE(read_fdinfo(::gettid(), number));
  one.reset(::fcntl(other.get(), F_DUPFD_CLOEXEC, number));
  ASSERT_EQ(one.get(), number);
  EXPECT_TRUE(read_fdinfo(::gettid(), number));
}

using test::end, test::fork_as;

// Waits for the child's own name: it has begun.
std::optional<TaskStat> stat_of(pid_t child, std::string_view name) {
  for (;;) {
    auto stat = read_stat(child);
    if (!stat || stat->comm == name) return stat;
    ::sched_yield();
  }
}

// The files of tasks are kept open: they must not speak for the next task of the same number, nor for none.
TEST(ReadTask, TheNextOneOfTheSameNumber) {
  const pid_t first = fork_as(0);
  ASSERT_GT(first, 0);
  EXPECT_TRUE(stat_of(first, "first"));
  EXPECT_TRUE(read_syscall(first));
  end(first);
  EXPECT_FALSE(read_stat(first));
  EXPECT_FALSE(read_syscall(first));
  ASSERT_EQ(fork_as(first), first) << std::strerror(errno);
  EXPECT_TRUE(stat_of(first, "second"));
  EXPECT_TRUE(read_syscall(first));
  end(first);
  EXPECT_FALSE(read_stat(first));
}

// Another thread's time would pass for a held task's.
TEST(ReadTask, OneThreadsTimesAlone) {
  std::atomic<bool> stop = false;
  std::atomic<int> tid = 0;
  std::thread idle([&] {
    tid = ::gettid();
    tid.notify_one();
    stop.wait(false);
  });
  tid.wait(0);
  while (read_stat(::gettid())->utime + read_stat(::gettid())->stime < 5) continue;  // ticks of 10 ms
  const auto stat = read_stat(tid);
  stop = true;
  stop.notify_one();
  idle.join();
  ASSERT_TRUE(stat);
  EXPECT_LT(stat->utime + stat->stime, 5u);
}

TEST(ReadTask, OneThatIsGone) {
  constexpr int kNobody = 0x7ffffffe;  // above pid_max
  EXPECT_FALSE(read_stat(kNobody));
  EXPECT_FALSE(read_syscall(kNobody));
  EXPECT_EQ(read_comm(kNobody), "?");
}

}  // namespace
}  // namespace mrlease::sys
