// SPDX-License-Identifier: Apache-2.0
#include "daemon/sys/lease_taker.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <utility>

#include "daemon/sys/blocked_signals.h"
#include "daemon/sys/own_proc.h"
#include "daemon/sys/pidfd.h"

namespace mrlease::sys {
namespace {

// How long the process may take for an answer, which is three system calls, and between two looks whether it was stopped.
constexpr std::chrono::milliseconds kAnswer{500}, kLook{20};

std::atomic<pid_t> newest_taker{-1};

int request_signal() { return SIGRTMIN + 4; }

// ---- in the process: no memory is allocated, as another thread of the daemon may have had malloc's locks when it was made

void give_up_rights() {
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);  // nobody gets at the daemon's descriptors by way of it
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> sets{};
  sets[0].effective = sets[0].permitted = 1u << CAP_LEASE;
  ::syscall(SYS_capset, &header, sets.data());
}

// What the daemon maps and shares would stay open as long as this process is there: clients' files, their bounce pages. Read here, not before
// the process was made: other threads map and unmap meanwhile; and without proc_maps.h, whose strings are allocated.
void unmap_shared() {
  const int maps = ::openat(own_proc(), "self/maps", O_RDONLY | O_CLOEXEC);  // its root was opened before this process was made
  if (maps < 0) ::_exit(1);
  std::uintptr_t number = 0, begin = 0;
  int word = 0, letter = 0;  // of the line "begin-end rwxs ..."
  char text[2048];
  for (ssize_t n; (n = ::read(maps, text, sizeof text)) > 0;) {
    for (ssize_t i = 0; i < n; i++) {
      const char c = text[i];
      if (c == '\n') word = letter = 0, number = 0;
      else if (word == 0 && c == '-') begin = number, number = 0, word = 1;
      else if (word == 1 && c == ' ') word = 2;
      else if (word < 2) number = number * 16 + static_cast<std::uintptr_t>(c <= '9' ? c - '0' : c - 'a' + 10);
      else if (word == 2 && ++letter == 4 && c == 's') ::munmap(reinterpret_cast<void*>(begin), number - begin);
      else if (letter >= 4) word = 3;
    }
  }
  ::close(maps);
}

int own_and_take(int fd, int signal) {
  // In this order: a break right after F_SETLEASE must find owner and signal in place.
  const f_owner_ex owner{F_OWNER_PID, ::getpid()};
  if (::fcntl(fd, F_SETOWN_EX, &owner) != 0 || ::fcntl(fd, F_SETSIG, signal) != 0) return errno;
  return ::fcntl(fd, F_SETLEASE, F_WRLCK) != 0 ? errno : 0;
}

[[noreturn]] void serve(int answers, int breaks, int signal, pid_t daemon) {
  sigset_t all;
  ::sigfillset(&all);
  ::prctl(PR_SET_NAME, "mrl-leases", 0, 0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  if (::getppid() != daemon) ::_exit(1);
  unmap_shared();
  give_up_rights();
  for (;;) {
    siginfo_t info;
    if (::sigwaitinfo(&all, &info) < 0) continue;
    if (info.si_signo == SIGCONT && info.si_code == SI_USER) continue;  // wake()
    if (info.si_code == SI_QUEUE && info.si_pid == daemon) {
      const int error = own_and_take(info.si_value.sival_int, signal);
      if (::write(answers, &error, sizeof error) != sizeof error) ::_exit(1);
    } else {
      // Whatever signal the client has chosen. SIGIO without a number: the queue of signals was full.
      const int fd = info.si_code > 0 && info.si_code != SI_KERNEL && info.si_fd > 0 ? info.si_fd : -1;
      [[maybe_unused]] const ssize_t n = ::write(breaks, &fd, sizeof fd);  // full: the looks of every now and then find it
    }
  }
}

// 0, or errno.
int open_pipe(Fd* reads, Fd* writes) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return errno;
  reads->reset(ends[0]);
  writes->reset(ends[1]);
  return 0;
}

}  // namespace

int LeaseTaker::start() {
  if (int error = open_pipe(&answers_, &answers_end_)) return error;
  if (int error = open_pipe(&breaks_, &breaks_end_)) return error;
  const pid_t daemon = ::getpid();
  own_proc();
  pid_t child;
  {
    const BlockedSignals until_it_waits_for_them;
    child = static_cast<pid_t>(::syscall(SYS_clone, CLONE_FILES | SIGCHLD, nullptr, nullptr, nullptr, nullptr));
    if (child < 0) return errno;
    if (child == 0) serve(answers_end_.get(), breaks_end_.get(), signal_, daemon);
  }
  newest_taker = pid_ = child;
  const int no_pidfd = open_pidfd(pid_, &pidfd_);
  if (no_pidfd != 0) stop();
  return no_pidfd;
}

void LeaseTaker::stop() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  for (Fd* fd : {&pidfd_, &answers_, &breaks_, &answers_end_, &breaks_end_}) fd->reset();
}

// errno of its F_SETLEASE, or -1: it does not answer.
int LeaseTaker::ask(int fd) {
  sigval value{};
  value.sival_int = fd;
  if (::sigqueue(pid_, request_signal(), value) != 0) return -1;
  const auto until = std::chrono::steady_clock::now() + kAnswer;
  for (;;) {
    std::array<pollfd, 2> fds{{{answers_.get(), POLLIN, 0}, {pidfd_.get(), POLLIN, 0}}};
    const int ready = ::poll(fds.data(), fds.size(), static_cast<int>(kLook.count()));
    int error = 0;
    if (ready > 0 && (fds[0].revents & POLLIN) != 0) return ::read(answers_.get(), &error, sizeof error) == sizeof error ? error : -1;
    if (ready > 0 || std::chrono::steady_clock::now() >= until) return -1;
    wake();
  }
}

int LeaseTaker::take(int fd) {
  if (pid_ < 0 && start() != 0) return EAGAIN;
  int error = ask(fd);
  if (error >= 0) return error;
  lose();  // an answer that came later would be taken for that to the next question
  if (start() != 0) return EAGAIN;
  error = ask(fd);
  if (error < 0) lose();
  return error < 0 ? EAGAIN : error;
}

void LeaseTaker::lose() {
  stop();
  lost_ = true;
}

pid_t LeaseTaker::newest() { return newest_taker; }

std::vector<int> LeaseTaker::breaks() {
  std::vector<int> fds;
  for (int fd; breaks_ && ::read(breaks_.get(), &fd, sizeof fd) == sizeof fd;) fds.push_back(fd);
  return fds;
}

bool LeaseTaker::lost() {
  pollfd end{pidfd_.get(), POLLIN, 0};
  if (pid_ >= 0 && ::poll(&end, 1, 0) > 0) lose();
  return std::exchange(lost_, false);
}

void LeaseTaker::wake() const {
  if (pid_ > 0) ::kill(pid_, SIGCONT);
}

}  // namespace mrlease::sys
