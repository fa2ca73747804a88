// SPDX-License-Identifier: Apache-2.0
// Somebody else: a process of its own, unprivileged, that does one thing after the other when told.
#pragma once

#include <sys/types.h>

#include <cerrno>
#include <functional>
#include <vector>

#include "proto/fd_passing.h"

namespace mrlease::test {

class Foreign {
 public:
  // Each step runs in the child and returns 0 or errno. All descriptors but `keep` are closed there. The child runs as
  // nobody, and waits for next() before each step.
  using Step = std::function<int()>;
  explicit Foreign(std::vector<Step> steps, int keep = -1);
  ~Foreign();

  pid_t pid() const { return pid_; }
  void next();
  // The step's result; -1: it did not come within 5 s, or the child is dead.
  int result();
  bool done(int wait_ms = 20);  // is there a result
  bool blocked_in(long number);  // until the step sits in this system call (it is being held), or has a result: false
  void kill();

 private:
  [[noreturn]] void run(const std::vector<Step>& steps, int keep, int go, int results);

  pid_t pid_ = -1;
  wire::Fd go_, results_;
};

// 0 or errno.
inline int outcome(long result) { return result < 0 ? errno : 0; }

}  // namespace mrlease::test
