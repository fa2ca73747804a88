// SPDX-License-Identifier: Apache-2.0
// Children that have a number of our choice, and sit in pause(2).
#pragma once

#include <linux/sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>

namespace mrlease::test {

// 0: any number, and the child is called "first"; else "second". Needs CAP_CHECKPOINT_RESTORE. -1 and errno.
inline pid_t fork_as(pid_t number) {
  clone_args args{};
  args.exit_signal = SIGCHLD;
  if (number != 0) {
    args.set_tid = reinterpret_cast<std::uintptr_t>(&number);
    args.set_tid_size = 1;
  }
  const long child = ::syscall(SYS_clone3, &args, sizeof args);
  if (child == 0) {
    ::prctl(PR_SET_NAME, number != 0 ? "second" : "first");
    for (;;) ::syscall(SYS_pause);
  }
  return static_cast<pid_t>(child);
}

inline void end(pid_t child) {
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
}

}  // namespace mrlease::test
