// SPDX-License-Identifier: Apache-2.0
#include "daemon/guard/classify.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/mman.h>
#include <sys/syscall.h>

namespace mrlease::guard {
namespace {

using core::BreakKind;
using core::Extent;
using core::Needs;

constexpr std::uint64_t kStack = 0x7ffc12345678;
constexpr EventFacts kTwoPages{false, true, 8192, 8192, 4096};
constexpr EventFacts kOnePage{false, true, 8192, 4096, 4096};
constexpr EventFacts kNothing{false, true, 8192, 0, 4096};
constexpr EventFacts kOpen{true, false, 0, 0, 4096};
constexpr Extent kRange{8192, 16384};
constexpr Extent kWhole{};
constexpr std::optional<FdFacts> kNoFd;
constexpr FdFacts kFile{true, O_RDWR}, kOther{false, O_RDWR}, kDirect{true, O_RDWR | O_DIRECT},
    kAppend{true, O_RDWR | O_APPEND};

struct Case {
  const char* name;
  EventFacts event;
  long number;
  std::array<std::uint64_t, 6> args;
  std::optional<FdFacts> from, to;
  BreakKind kind;
  Extent extent;
  bool doubtful = false;
  std::uint32_t task_flags = 0;
  std::uint64_t sp = kStack;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

TaskFacts task_of(const Case& c) {
  TaskFacts task{sys::TaskStat{'S', c.task_flags}, sys::SyscallState{}};
  task.call->number = c.number;
  task.call->args = c.args;
  task.call->sp = c.sp;
  return task;
}

class Classify : public testing::TestWithParam<Case> {};

TEST_P(Classify, Table) {
  const Case& c = GetParam();
  Verdict v = classify(c.event, task_of(c), c.from, c.to);
  EXPECT_TRUE(v.hold);
  EXPECT_EQ(v.kind, c.kind) << v.name;
  EXPECT_EQ(v.extent, c.extent) << v.extent.begin << ".." << v.extent.end;
  EXPECT_EQ(v.doubtful, c.doubtful) << v.name;
  if (v.kind == BreakKind::Truncate || v.shortens) {
    EXPECT_EQ(v.new_size, v.kind == BreakKind::Truncate ? c.extent.begin : 8192);
  }
  if (c.doubtful && c.extent.end == core::kToEnd && v.kind == BreakKind::Destructive) {
    EXPECT_EQ(v.shortens, c.extent.begin == 8192) << "it may be a truncate";
  }
}

constexpr BreakKind R = BreakKind::Read, W = BreakKind::Write, D = BreakKind::Destructive, T = BreakKind::Truncate;
constexpr std::uint64_t kPunch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

const Case kReads[] = {
    {"read", kTwoPages, SYS_read, {3, 0, 8192}, kFile, kNoFd, R, kRange},
    {"pread", kTwoPages, SYS_pread64, {3, 0, 8192, 8192}, kFile, kNoFd, R, kRange},
    {"readv", kTwoPages, SYS_readv, {3}, kFile, kNoFd, R, kRange},
    {"preadv", kTwoPages, SYS_preadv, {3}, kFile, kNoFd, R, kRange},
    {"preadv2", kTwoPages, SYS_preadv2, {3, 0, 1, 0, 0, RWF_NOWAIT}, kFile, kNoFd, R, kRange},
    {"preadv2_unknown_flags", kTwoPages, SYS_preadv2, {3, 0, 1, 0, 0, 0x80}, kFile, kNoFd, D, kRange},
    {"read_direct", kTwoPages, SYS_read, {3}, kDirect, kNoFd, R, kRange},
    {"read_of_other_file", kTwoPages, SYS_read, {3}, kOther, kNoFd, D, kWhole, true},
    {"read_fd_unreadable", kTwoPages, SYS_read, {3}, kNoFd, kNoFd, D, kWhole, true},
    {"read_empty_range", kNothing, SYS_read, {3}, kFile, kNoFd, R, kWhole},
    {"mmap", kTwoPages, SYS_mmap, {0, 8192, PROT_READ, MAP_SHARED, 3, 8192}, kFile, kNoFd, R, kRange},
    {"sendfile_source", kTwoPages, SYS_sendfile, {4, 3}, kFile, kOther, R, kRange},
    {"splice_source", kTwoPages, SYS_splice, {3, 0, 4}, kFile, kOther, R, kRange},
    {"ficlone_source", kNothing, SYS_ioctl, {4, FICLONE, 3}, kFile, kOther, R, kWhole},
    {"copy_source", kTwoPages, SYS_copy_file_range, {3, 0, 4}, kFile, kOther, R, kRange},
};
const Case kWrites[] = {
    {"write", kTwoPages, SYS_write, {3}, kNoFd, kFile, W, kRange},
    {"pwrite", kTwoPages, SYS_pwrite64, {3}, kNoFd, kFile, W, kRange},
    {"writev", kTwoPages, SYS_writev, {3}, kNoFd, kFile, W, kRange},
    {"pwritev", kTwoPages, SYS_pwritev, {3}, kNoFd, kFile, W, kRange},
    {"pwritev2", kTwoPages, SYS_pwritev2, {3, 0, 1, 0, 0, RWF_DSYNC}, kNoFd, kFile, W, kRange},
    {"pwritev2_append", kTwoPages, SYS_pwritev2, {3, 0, 1, 0, 0, RWF_APPEND}, kNoFd, kFile, W, kWhole},
    {"pwritev2_unknown_flags", kTwoPages, SYS_pwritev2, {3, 0, 1, 0, 0, 0x80}, kNoFd, kFile, D, kRange},
    {"write_appending", kTwoPages, SYS_write, {3}, kNoFd, kAppend, W, kWhole},
    {"write_direct", kTwoPages, SYS_write, {3}, kNoFd, kDirect, D, kRange},
    {"write_to_other_file", kTwoPages, SYS_write, {3}, kNoFd, kOther, D, kWhole, true},
    {"write_fd_unreadable", kTwoPages, SYS_write, {3}, kNoFd, kNoFd, D, kWhole, true},
    {"splice_destination", kTwoPages, SYS_splice, {4, 0, 3}, kOther, kFile, W, kRange},
    {"splice_destination_direct", kTwoPages, SYS_splice, {4, 0, 3}, kOther, kDirect, D, kRange},
    {"sendfile_destination", kTwoPages, SYS_sendfile, {3, 4}, kOther, kFile, W, kRange},
    {"sendfile_within", kTwoPages, SYS_sendfile, {3, 3}, kFile, kFile, D, kWhole, true},
    {"copy_destination", kTwoPages, SYS_copy_file_range, {4, 0, 3}, kOther, kFile, D, kRange},
    {"copy_within", kTwoPages, SYS_copy_file_range, {3, 0, 3}, kFile, kFile, D, kWhole, true},
    {"copy_unreadable", kTwoPages, SYS_copy_file_range, {3, 0, 4}, kFile, kNoFd, D, kWhole, true},
    {"fallocate_grow", kTwoPages, SYS_fallocate, {3, 0}, kNoFd, kFile, W, kRange},
    {"fallocate_keep", kTwoPages, SYS_fallocate, {3, FALLOC_FL_KEEP_SIZE}, kNoFd, kFile, W, kRange},
};
const Case kDestroys[] = {
    {"punch", kTwoPages, SYS_fallocate, {3, kPunch}, kNoFd, kFile, D, kRange},
    {"zero", kTwoPages, SYS_fallocate, {3, FALLOC_FL_ZERO_RANGE}, kNoFd, kFile, D, kRange},
    {"collapse", kTwoPages, SYS_fallocate, {3, FALLOC_FL_COLLAPSE_RANGE}, kNoFd, kFile, D, {8192, core::kToEnd}},
    {"insert", kTwoPages, SYS_fallocate, {3, FALLOC_FL_INSERT_RANGE}, kNoFd, kFile, D, {8192, core::kToEnd}},
    {"fallocate_unknown_mode", kTwoPages, SYS_fallocate, {3, 0x80}, kNoFd, kFile, D, kRange},
    {"madvise", kTwoPages, SYS_madvise, {0, 8192, MADV_REMOVE}, kNoFd, kNoFd, D, kRange},
    {"process_madvise", kTwoPages, SYS_process_madvise, {}, kNoFd, kNoFd, D, kWhole, true},
    {"ficlone_destination", kNothing, SYS_ioctl, {3, FICLONE, 4}, kOther, kFile, D, kWhole},
    {"ficlone_within", kTwoPages, SYS_ioctl, {3, FICLONE, 3}, kFile, kFile, D, kWhole, true},
    {"ficlone_unreadable", kTwoPages, SYS_ioctl, {4, FICLONE, 3}, kFile, kNoFd, D, kWhole, true},
    {"ficlonerange", kTwoPages, SYS_ioctl, {4, FICLONERANGE, 3}, kFile, kOther, D, kWhole, true},
    {"fideduperange", kTwoPages, SYS_ioctl, {4, FIDEDUPERANGE, 3}, kFile, kOther, D, kWhole, true},
    {"io_uring_enter", kTwoPages, SYS_io_uring_enter, {3}, kNoFd, kNoFd, D, kWhole, true},
    {"io_submit", kTwoPages, SYS_io_submit, {3}, kNoFd, kNoFd, D, kWhole, true},
    {"unknown_number", kTwoPages, 100000, {3}, kFile, kFile, D, kWhole, true},
    {"outside_of_a_call", kTwoPages, -1, {}, kFile, kFile, D, kWhole, true},
    {"io_worker_shows_read", kTwoPages, SYS_read, {3}, kFile, kNoFd, D, kWhole, true, 0x10},
    {"io_worker_may_truncate", kNothing, SYS_read, {3}, kFile, kNoFd, D, {8192, core::kToEnd}, true, 0x10},
    {"io_worker_of_one_page", kOnePage, SYS_read, {3}, kFile, kNoFd, D, {8192, core::kToEnd}, true, 0x10},
    {"user_worker_shows_write", kTwoPages, SYS_write, {3}, kNoFd, kFile, D, kWhole, true, 0x4000},
    {"kernel_thread_shows_read", kTwoPages, SYS_read, {}, kFile, kNoFd, D, kWhole, true, 0x200000},
    {"core_dump_behind_read", kTwoPages, SYS_read, {3}, kFile, kNoFd, D, kWhole, true, 0x200},
    {"accounting_behind_read", kTwoPages, SYS_read, {3}, kFile, kNoFd, D, kWhole, true, 0x4},
    {"compat_task", kTwoPages, SYS_read, {3}, kFile, kNoFd, D, kWhole, true, 0, 0xffcc1234},
    {"x32_call", kTwoPages, SYS_read | 0x40000000, {3}, kFile, kNoFd, D, kWhole, true},
};
const Case kTruncates[] = {
    {"ftruncate_aligned", kNothing, SYS_ftruncate, {3, 8192}, kNoFd, kFile, T, {8192, core::kToEnd}},
    {"ftruncate_odd", kOnePage, SYS_ftruncate, {3, 8193}, kNoFd, kFile, T, {8193, core::kToEnd}},
    {"truncate", kOnePage, SYS_truncate, {0xdead, 9000}, kNoFd, kNoFd, T, {9000, core::kToEnd}},
    {"truncate_disagrees", kNothing, SYS_truncate, {0xdead, 90000}, kNoFd, kNoFd, D, {8192, core::kToEnd}, true},
    {"ftruncate_of_other_file", kNothing, SYS_ftruncate, {4, 8192}, kNoFd, kOther, D, {8192, core::kToEnd}, true},
    {"ftruncate_with_a_long_range", kTwoPages, SYS_ftruncate, {3, 8192}, kNoFd, kFile, D, kWhole, true},
    {"ioctl_of_one_page", kOnePage, SYS_ioctl, {3}, kNoFd, kNoFd, D, {8192, core::kToEnd}, true},
    {"openat_trunc", kOpen, SYS_openat, {0, 0, O_WRONLY | O_TRUNC}, kNoFd, kNoFd, T, kWhole},
    {"open_trunc", kOpen, SYS_open, {0, O_RDONLY | O_TRUNC}, kNoFd, kNoFd, T, kWhole},
    {"creat", kOpen, SYS_creat, {0, 0600}, kNoFd, kNoFd, T, kWhole},
    {"openat2", kOpen, SYS_openat2, {}, kNoFd, kNoFd, T, kWhole},
    {"handle_trunc", kOpen, SYS_open_by_handle_at, {0, 0, O_RDWR | O_TRUNC}, kNoFd, kNoFd, T, kWhole},
    {"io_worker_opens", kOpen, SYS_openat, {0, 0, O_RDONLY}, kNoFd, kNoFd, T, kWhole, true, 0x10},
    {"opened_behind_read", kOpen, SYS_read, {3}, kNoFd, kNoFd, T, kWhole, true},
};
std::string name_of(const testing::TestParamInfo<Case>& info) { return info.param.name; }
INSTANTIATE_TEST_SUITE_P(Reads, Classify, testing::ValuesIn(kReads), name_of);
INSTANTIATE_TEST_SUITE_P(Writes, Classify, testing::ValuesIn(kWrites), name_of);
INSTANTIATE_TEST_SUITE_P(Destroys, Classify, testing::ValuesIn(kDestroys), name_of);
INSTANTIATE_TEST_SUITE_P(Truncates, Classify, testing::ValuesIn(kTruncates), name_of);

TEST(ClassifyOpen, HarmlessOpensPass) {
  for (const Case& c : {Case{"openat", kOpen, SYS_openat, {0, 0, O_RDWR | O_CREAT}},
                        Case{"open", kOpen, SYS_open, {0, O_RDONLY}}, Case{"execve", kOpen, SYS_execve, {}}})
    EXPECT_FALSE(classify(c.event, task_of(c), {}, {}).hold) << c.name;
}

TEST(ClassifyTask, HiddenOrRunningTasksAreDoubtful) {
  TaskFacts hidden;
  EXPECT_TRUE(classify(kTwoPages, hidden, kFile, kFile).doubtful);
  TaskFacts running{sys::TaskStat{'R', 0}, sys::SyscallState{true}};
  EXPECT_TRUE(classify(kTwoPages, running, kFile, kFile).doubtful);
  TaskFacts no_call{sys::TaskStat{'S', 0}, {}};
  EXPECT_TRUE(classify(kTwoPages, no_call, kFile, kFile).doubtful);
}

Verdict made(BreakKind kind, bool doubtful) {
  Verdict v;
  v.kind = kind;
  v.doubtful = doubtful;
  return v;
}

TEST(Classify, ACollapseTellsWhereTheFileEndsAfterwards) {
  TaskFacts task{sys::TaskStat{'S', 0}, sys::SyscallState{}};
  task.call->number = SYS_fallocate;
  task.call->args = {3, FALLOC_FL_COLLAPSE_RANGE, 8192, 4096};
  task.call->sp = 1ull << 40;
  EventFacts event = kTwoPages;
  event.file_size = 65536;
  Verdict v = classify(event, task, kNoFd, kFile);
  EXPECT_TRUE(v.shortens);
  EXPECT_EQ(v.shorter_by, task.call->args[3]);
  EXPECT_EQ(v.new_size, 61440u);
  EXPECT_EQ(wanted(v, Needs{.truncate = true})->kind, D) << "on-demand pages at the end go as well";
  task.call->args[3] = 65536;  // the kernel refuses that, unless somebody who is held before it makes the file longer
  v = classify(event, task, kNoFd, kFile);
  EXPECT_TRUE(v.shortens);
  EXPECT_EQ(v.new_size, event.offset) << "what is before it stays";
  task.call->args = {3, FALLOC_FL_INSERT_RANGE, 8192, 4096};
  v = classify(event, task, kNoFd, kFile);
  EXPECT_FALSE(v.shortens);
  EXPECT_FALSE(wanted(v, Needs{.truncate = true}));
}

TEST(Wanted, OnlyWhatIsNeeded) {
  EXPECT_FALSE(wanted(made(R, false), Needs{.truncate = true, .destructive = true, .write = true}));
  EXPECT_TRUE(wanted(made(R, false), Needs{.read = true}));
  EXPECT_FALSE(wanted(made(W, false), Needs{.read = true}));
  EXPECT_FALSE(wanted(made(T, false), Needs{.destructive = true, .write = true, .read = true}));
  Verdict harmless;
  harmless.hold = false;
  EXPECT_FALSE(wanted(harmless, Needs{true, true, true, true}));
}

TEST(Wanted, ADirectWriteIsAlsoAWrite) {
  EXPECT_EQ(wanted(made(D, false), Needs{.write = true})->kind, W);
  EXPECT_FALSE(wanted(made(D, false), Needs{.read = true}));
}

TEST(Wanted, DoubtIsHeldAsTheWorstThatIsNeeded) {
  EXPECT_EQ(wanted(made(T, true), Needs{true, true, true, true})->kind, T);
  EXPECT_EQ(wanted(made(T, true), Needs{.destructive = true})->kind, D);
  EXPECT_EQ(wanted(made(T, true), Needs{.write = true})->kind, W);
  EXPECT_EQ(wanted(made(D, true), Needs{.read = true})->kind, R);
  EXPECT_FALSE(wanted(made(D, true), Needs{.truncate = true}));  // its range cannot be a truncate's
  EXPECT_FALSE(wanted(made(D, true), Needs{}));
}

TEST(CallFds, PicksTheDescriptorArguments) {
  sys::SyscallState call;
  call.args = {10, 11, 12, 13, 14, 15};
  call.number = SYS_splice;
  EXPECT_EQ(call_fds(call).from, 10);
  EXPECT_EQ(call_fds(call).to, 12);
  call.number = SYS_mmap;
  EXPECT_EQ(call_fds(call).from, 14);
  EXPECT_EQ(call_fds(call).to, -1);
  call.number = SYS_truncate;
  EXPECT_EQ(call_fds(call).to, -1);
  call.number = SYS_ioctl;
  EXPECT_EQ(call_fds(call).to, -1);
  call.args[1] = FICLONE;
  EXPECT_EQ(call_fds(call).from, 12);
  EXPECT_EQ(call_fds(call).to, 10);
}

}  // namespace
}  // namespace mrlease::guard
