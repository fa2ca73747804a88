// SPDX-License-Identifier: Apache-2.0
// What a held event is about to do. Pure functions on what was read from the kernel; nothing here reads.
//
// A permission event names the file and, for FAN_PRE_ACCESS, a range that the kernel made: both are true. What the task
// does is told by /proc/<tid>/syscall only, and that can be wrong: an io_uring worker shows the call that its parent sat
// in when it was made; a core dump or process accounting runs behind whatever call came before; a 32-bit task shows
// i386 numbers. So an operation counts as reading or writing only if everything agrees: a plain user task, the native
// ABI, a call of a known family, and a descriptor argument that is this file. Everything else is taken for the worst that
// its range allows (where only truncates matter, less has to agree: event_desk.cc: may_not_matter()). Memory of the task (pointer
// arguments) is never looked at: the task could change it afterwards.
//
// What remains: a thread that shares the descriptor table, or holder of the same description, can exchange a descriptor
// or set O_DIRECT while the write is held, and so pass a direct write for a buffered one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "daemon/core/arbiter.h"
#include "daemon/sys/proc_task.h"

namespace mrlease::guard {

struct EventFacts {
  bool open = false;  // FAN_OPEN_PERM; else FAN_PRE_ACCESS
  bool has_range = false;
  std::uint64_t offset = 0, count = 0;
  std::uint64_t page = 4096;
  std::uint64_t file_size = 0;  // of now
};

struct TaskFacts {
  std::optional<sys::TaskStat> stat;
  std::optional<sys::SyscallState> call;
};

// The descriptor numbers that a call takes data from and puts data to; -1: none. Flags live in their descriptions.
struct CallFds {
  int from = -1, to = -1;
};

struct FdFacts {
  bool same_file = false;
  std::uint64_t flags = 0;
};

struct Verdict {
  bool hold = true;  // false: an open that harms nothing
  bool doubtful = false;
  core::BreakKind kind = core::BreakKind::Destructive;
  core::Extent extent{};
  std::uint64_t new_size = 0;  // Truncate, or where it shortens
  bool shortens = false;       // Destructive: the file may get shorter
  std::uint64_t shorter_by = 0;  // by that much, where it can be told
  std::string name = "unknown operation";
};

// A plain user task with the native ABI, in a known state. Otherwise its system call tells nothing.
bool trusted(const TaskFacts& task);
CallFds call_fds(const sys::SyscallState& call);
// The task (no worker of the kernel, which is for the caller to know) is in a native call that reads or writes.
bool reads_or_writes(const sys::SyscallState& call);
bool opens_to_truncate(const sys::SyscallState& call);  // or may do so: openat2(2)
Verdict classify(const EventFacts& event, const TaskFacts& task, const std::optional<FdFacts>& from,
                 const std::optional<FdFacts>& to);

// What the arbiter is to hear: the verdict, or, where its kind is not needed, the lesser kind that it may also be.
// Nothing: answer at once.
std::optional<Verdict> wanted(const Verdict& verdict, const core::Needs& needs);

}  // namespace mrlease::guard
