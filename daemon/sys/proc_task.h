// SPDX-License-Identifier: Apache-2.0
// What /proc tells about one task. Parsers are pure; readers return nothing when the task is gone or hidden.
// Reading another user's task needs CAP_SYS_PTRACE.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mrlease::sys {

// /proc/<tid>/syscall, fs/proc/base.c proc_pid_syscall().
struct SyscallState {
  bool running = false;  // on a CPU: nothing is known
  long number = -1;      // -1: not in a system call
  std::array<std::uint64_t, 6> args{};
  std::uint64_t sp = 0, pc = 0;
  bool operator==(const SyscallState&) const = default;
};

// /proc/<tid>/task/<tid>/stat, proc_pid_stat(5): of this thread alone.
struct TaskStat {
  char state = '?';
  std::uint32_t flags = 0;  // PF_*, include/linux/sched.h
  std::uint64_t utime = 0, stime = 0;  // clock ticks
  std::uint64_t start = 0;             // tells a reused number
  std::string comm;
};

// /proc/<tid>/fdinfo/<fd>.
struct FdInfo {
  std::uint64_t flags = 0;  // O_*
  std::uint64_t mount = 0, inode = 0;
};

std::optional<SyscallState> parse_syscall(std::string_view text);
std::optional<TaskStat> parse_stat(std::string_view text);
std::optional<FdInfo> parse_fdinfo(std::string_view text);

std::optional<SyscallState> read_syscall(int tid);
std::optional<TaskStat> read_stat(int tid);
std::optional<FdInfo> read_fdinfo(int tid, int fd);
std::string read_comm(int tid);   // "?" when it cannot be read
std::string read_wchan(int tid);  // the kernel function that it sleeps in; "" or "0" when it cannot be read
bool is_own_thread(int tid);
bool is_thread_of(int process, int tid);  // never waits
bool is_gone(int tid);                    // likewise

}  // namespace mrlease::sys
