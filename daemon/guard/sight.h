// SPDX-License-Identifier: Apache-2.0
// Looks at the tasks that events are of. They may take for ever (lookout.h), so nothing of the guard's is touched meanwhile: what
// to look at is a copy, and so is what was seen.
#pragma once

#include <cstdint>
#include <optional>

#include "daemon/guard/leaving.h"
#include "daemon/sys/proc_task.h"

namespace mrlease::guard {

// One after the other, so that what can be told early is told early.
enum class Depth {
  Plain,  // only whether it is a task that reads or writes, with all that is known of it from earlier looks
  Call,   // its system call
  Rest,   // what else there is to see, and the descriptors of its call
};

struct Look {
  std::uint64_t serial = 0;  // of the event
  int tid = 0;
  Depth depth = Depth::Call;
  TaskView view;     // Rest: what was seen of it before
  bool fds = false;  // Rest: the call's descriptors are of interest
};

struct Sight {
  bool plain = false;  // it is in a native call that reads or writes
  TaskView view;
  std::optional<sys::FdInfo> from, to;
};

// What is seen. The calling thread remembers tasks that it has seen.
Sight observe(const Look& look);
// What is seen of a task that is not to be looked at.
Sight see_nothing(const Look& look);

}  // namespace mrlease::guard
