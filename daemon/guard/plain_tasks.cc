// SPDX-License-Identifier: Apache-2.0
#include "daemon/guard/plain_tasks.h"

#include <algorithm>

#include "daemon/guard/leaving.h"
#include "daemon/sys/proc_file.h"

namespace mrlease::guard {

std::optional<sys::SyscallState> PlainTasks::call_of(int tid) {
  auto at = std::find_if(tasks_.begin(), tasks_.end(), [tid](const Task& t) { return t.call && t.tid == tid; });
  if (at != tasks_.end()) {
    if (const sys::ProcText text(at->call); text) return at->plain ? sys::parse_syscall(*text) : std::nullopt;
  } else {
    at = tasks_.begin() + next_++ % tasks_.size();
  }
  // What is found below is of the task whose file this is, if that can still be read afterwards.
  *at = {tid, false, sys::open_of_task(tid, "syscall")};
  const auto stat = sys::read_stat(tid);
  at->plain = stat && !is_worker(*stat);  // a second lock: workers show no stack either (arch/x86/kernel/process.c, copy_thread())
  const sys::ProcText text(at->call);
  if (!text || !stat) at->call.reset();
  return text && at->plain ? sys::parse_syscall(*text) : std::nullopt;
}

}  // namespace mrlease::guard
