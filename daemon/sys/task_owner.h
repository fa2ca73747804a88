// SPDX-License-Identifier: Apache-2.0
// To whom a task belongs: /proc/<tid>/status, proc_pid_status(5).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace mrlease::sys {

struct TaskOwner {
  int pid = 0;  // of the process (Tgid)
  unsigned uid = 0, gid = 0;  // effective
  unsigned real_uid = 0, saved_uid = 0;
  std::string comm;
};

// Pure. False: the text lacks one of them.
bool parse_owner(std::string_view status, TaskOwner* owner);
// False: the task is gone or hidden.
bool read_owner(int tid, TaskOwner* owner);
// The same for who must not wait for it (apart.h). Nothing: also where that would be needed.
std::optional<TaskOwner> owner_apart(int tid);

}  // namespace mrlease::sys
