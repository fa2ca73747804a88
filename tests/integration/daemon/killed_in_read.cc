// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/daemon/killed_in_read.h"

#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

namespace mrlease::test {
namespace {

using Clock = std::chrono::steady_clock;

pid_t guard_thread(pid_t daemon) {
  for (const auto& task : std::filesystem::directory_iterator("/proc/" + std::to_string(daemon) + "/task")) {
    std::string name;
    std::getline(std::ifstream(task.path() / "comm") >> std::ws, name);
    if (name == "mrl-guard") return std::stoi(task.path().filename());
  }
  return -1;
}

// A stop is told by waitpid(2) alone, which knows no deadline.
bool stopped(pid_t tid, Clock::time_point until, int* status) {
  while (::waitpid(tid, status, __WALL | WNOHANG) != tid) {
    if (Clock::now() > until) return false;
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  return WIFSTOPPED(*status);
}

bool has_got_events(pid_t tid) {
  __ptrace_syscall_info info{};
  if (::ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof info, &info) <= 0) return false;
  return info.op == PTRACE_SYSCALL_INFO_EXIT && info.exit.is_error == 0 && info.exit.rval > 0;
}

}  // namespace

bool kill_in_read(pid_t daemon, const std::function<void()>& begin, const std::function<bool()>& reading) {
  const pid_t tid = guard_thread(daemon);
  const auto until = Clock::now() + std::chrono::seconds(20);
  int status = 0;
  if (tid < 0 || ::ptrace(PTRACE_SEIZE, tid, nullptr, PTRACE_O_TRACESYSGOOD) != 0) return false;
  bool there = false;
  if (::ptrace(PTRACE_INTERRUPT, tid, nullptr, nullptr) == 0 && stopped(tid, until, &status)) {
    begin();
    do {
      if (::ptrace(PTRACE_SYSCALL, tid, nullptr, nullptr) != 0 || !stopped(tid, until, &status)) break;
      there = WSTOPSIG(status) == (SIGTRAP | 0x80) && has_got_events(tid) && reading();
    } while (!there);
  }
  ::kill(daemon, SIGKILL);
  ::waitpid(tid, &status, __WALL);  // until then the process is not over
  return there;
}

}  // namespace mrlease::test
