// SPDX-License-Identifier: Apache-2.0
// A process that shares its maker's descriptors, as a thread would. Threads of a process that was forked from one that has some are
// beyond the sanitizers.
#pragma once

#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <string>

namespace mrlease::test {

class Sharer {
 public:
  // does: 0 or errno. Only system calls: it runs in a copy of the maker's memory.
  explicit Sharer(const std::function<int()>& does) {
    pid_ = static_cast<pid_t>(::syscall(SYS_clone, CLONE_FILES | SIGCHLD, nullptr, nullptr, nullptr, nullptr));
    if (pid_ != 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::_exit(does());
  }

  pid_t pid() const { return pid_; }
  // Until it sleeps, or has ended.
  void wait_asleep() const {
    for (std::string stat = "R"; stat[0] == 'R';) {
      std::ifstream file("/proc/" + std::to_string(pid_) + "/stat");
      std::getline(file, stat);
      stat = stat.substr(std::min(stat.size(), stat.rfind(')') + 2)) + '?';  // proc_pid_stat(5): the state stands behind the name
      ::sched_yield();
    }
  }
  // Waits for its end. -1: it was killed.
  int result() const {
    int status = 0;
    return ::waitpid(pid_, &status, 0) == pid_ && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

 private:
  pid_t pid_ = -1;
};

}  // namespace mrlease::test
