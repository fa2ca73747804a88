// SPDX-License-Identifier: Apache-2.0
#include "daemon/guard/syscall_family.h"

#include <linux/fs.h>
#include <sys/syscall.h>

namespace mrlease::guard {
namespace {

struct Row {
  long number;
  CallShape shape;
};

constexpr Row kRows[] = {
    {SYS_read, {Family::Read, "read", 0}},
    {SYS_pread64, {Family::Read, "pread", 0}},
    {SYS_readv, {Family::Read, "readv", 0}},
    {SYS_preadv, {Family::Read, "preadv", 0}},
    {SYS_preadv2, {Family::Read, "preadv2", 0, -1, 5}},
    {SYS_mmap, {Family::Read, "mmap", 4}},
    {SYS_write, {Family::Write, "write", -1, 0}},
    {SYS_pwrite64, {Family::Write, "pwrite", -1, 0}},
    {SYS_writev, {Family::Write, "writev", -1, 0}},
    {SYS_pwritev, {Family::Write, "pwritev", -1, 0}},
    {SYS_pwritev2, {Family::Write, "pwritev2", -1, 0, 5}},
    {SYS_sendfile, {Family::Move, "sendfile", 1, 0}},
    {SYS_splice, {Family::Move, "splice", 0, 2}},
    {SYS_copy_file_range, {Family::CopyRange, "copy_file_range", 0, 2}},
    {SYS_truncate, {Family::Truncate, "truncate"}},
    {SYS_ftruncate, {Family::Ftruncate, "ftruncate", -1, 0}},
    {SYS_fallocate, {Family::Fallocate, "fallocate", -1, 0, 1}},
    {SYS_madvise, {Family::Madvise, "madvise"}},
    {SYS_openat, {Family::Open, "openat", -1, -1, 2}},
    {SYS_open_by_handle_at, {Family::Open, "open_by_handle_at", -1, -1, 2}},
    {SYS_openat2, {Family::Open, "openat2"}},  // its flags lie in the task's memory
#ifdef SYS_open
    {SYS_open, {Family::Open, "open", -1, -1, 1}},
#endif
#ifdef SYS_creat
    {SYS_creat, {Family::Open, "creat"}},  // is O_TRUNC
#endif
    {SYS_execve, {Family::Exec, "execve"}},
    {SYS_execveat, {Family::Exec, "execveat"}},
};

}  // namespace

CallShape call_shape(const sys::SyscallState& call) {
  // cp --reflink: a copy that shares blocks. It has both descriptors in registers; FICLONERANGE and FIDEDUPERANGE have one in memory
  // (include/uapi/linux/fs.h).
  const bool clone = static_cast<std::uint32_t>(call.args[1]) == FICLONE;
  if (call.number == SYS_ioctl) return clone ? CallShape{Family::CopyRange, "ioctl(FICLONE)", 2, 0} : CallShape{Family::Unknown, "ioctl"};
  for (const Row& row : kRows)
    if (row.number == call.number) return row.shape;
  return {};
}

}  // namespace mrlease::guard
