// SPDX-License-Identifier: Apache-2.0
// Has a task left the system call that it was held in? The kernel does not say, so the task is looked at.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "daemon/sys/proc_task.h"

namespace mrlease::guard {

using Clock = std::chrono::steady_clock;

struct TaskView {
  int tid = 0;
  std::optional<sys::TaskStat> stat;  // nothing: the task is gone
  std::optional<sys::SyscallState> call;
  std::string wchan;  // of kernel workers only
  bool hidden = false;  // nobody looks at it: of what is above nothing is known but the task
};

// Of the kernel's, io_uring's, vhost's: its system call is made up, and it stays one while it lives.
bool is_worker(const sys::TaskStat& stat);
// Only its system call; complete() looks at the rest.
TaskView look_at_call(int tid);
void complete(TaskView* view);
TaskView look(int tid);
// Of one that is not looked at: whether it is there can be told all the same.
TaskView hidden_task(int tid);
// `held`: while it waited for the answer; `now`: some time after. Pure.
bool has_left(const TaskView& held, const TaskView& now);
// How long to wait before looking for the n-th time, n from 0.
Clock::duration look_interval(unsigned n);

}  // namespace mrlease::guard
