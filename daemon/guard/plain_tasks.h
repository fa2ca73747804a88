// SPDX-License-Identifier: Apache-2.0
// The tasks that came with events lately, and of which is known what does not change while they live: whether they are workers of the
// kernel. So that it is not asked again for each page that somebody reads.
#pragma once

#include <array>
#include <optional>

#include "daemon/sys/fd.h"
#include "daemon/sys/proc_task.h"

namespace mrlease::guard {

// Not thread-safe.
class PlainTasks {
 public:
  // The system call of a task that an event waits for. Nothing: it is a worker, whose system call is made up; or it
  // is gone, or cannot be looked at.
  std::optional<sys::SyscallState> call_of(int tid);

 private:
  struct Task {
    int tid = 0;
    bool plain = false;
    sys::Fd call;  // stays with the task, and reads ESRCH when another one has its number
  };
  std::array<Task, 8> tasks_;
  std::size_t next_ = 0;
};

}  // namespace mrlease::guard
