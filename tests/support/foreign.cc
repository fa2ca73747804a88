// SPDX-License-Identifier: Apache-2.0
#include "tests/support/foreign.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/daemon_process.h"

namespace mrlease::test {
namespace {

constexpr int kDeadlineMs = 5000;

}  // namespace

Foreign::Foreign(std::vector<Step> steps, int keep) {
  int go[2], results[2];
  if (::pipe2(go, O_CLOEXEC) || ::pipe2(results, O_CLOEXEC)) return;
  pid_ = ::fork();
  if (pid_ == 0) run(steps, keep, go[0], results[1]);
  ::close(go[0]);
  ::close(results[1]);
  go_ = wire::Fd(go[1]);
  results_ = wire::Fd(results[0]);
}

// In the child: it must not hold the guard's fanotify groups open, so everything else is closed.
void Foreign::run(const std::vector<Step>& steps, int keep, int go, int results) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  constexpr int kBase = 900;
  ::dup2(go, kBase);
  ::dup2(results, kBase + 1);
  if (keep >= 0) ::dup2(keep, kBase + 2);
  ::syscall(SYS_close_range, 3u, static_cast<unsigned>(kBase - 1), 0u);
  ::syscall(SYS_close_range, static_cast<unsigned>(kBase + (keep >= 0 ? 3 : 2)), ~0u, 0u);
  if (keep >= 0) {
    ::dup2(kBase + 2, keep);
    ::close(kBase + 2);
  }
  if (::syscall(SYS_setresgid, kNobody, kNobody, kNobody) || ::syscall(SYS_setresuid, kNobody, kNobody, kNobody))
    ::_exit(1);
  char token;
  for (const auto& step : steps) {
    if (::read(kBase, &token, 1) != 1) ::_exit(0);
    int result = step();
    if (::write(kBase + 1, &result, sizeof result) != sizeof result) ::_exit(0);
  }
  while (::read(kBase, &token, 1) > 0) {
  }
  ::_exit(0);
}

void Foreign::next() {
  char token = 0;
  [[maybe_unused]] ssize_t n = ::write(go_.get(), &token, 1);
}

bool Foreign::done(int wait_ms) {
  pollfd p{results_.get(), POLLIN, 0};
  return ::poll(&p, 1, wait_ms) > 0;
}

int Foreign::result() {
  int value = -1;
  if (!done(kDeadlineMs) || ::read(results_.get(), &value, sizeof value) != sizeof value) return -1;
  return value;
}

bool Foreign::blocked_in(long number) {
  for (int looks = 0; looks < kDeadlineMs && !is_in(pid_, number); looks++)
    if (done(1)) return false;
  return is_in(pid_, number);
}

void Foreign::kill() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

Foreign::~Foreign() { kill(); }

}  // namespace mrlease::test
