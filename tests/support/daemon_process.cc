// SPDX-License-Identifier: Apache-2.0
#include "tests/support/daemon_process.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "tests/support/comes_true.h"
#include "tests/support/wire_client.h"

namespace mrlease::test {

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

bool wait_exit(pid_t pid, milliseconds timeout) {
  const int fd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  if (fd < 0) return true;
  pollfd p{fd, POLLIN, 0};
  const bool done = ::poll(&p, 1, static_cast<int>(timeout.count())) > 0;
  ::close(fd);
  return done;
}

}  // namespace

TestDirectory::TestDirectory() {
  const char* base = std::getenv("MRLEASE_TEST_DIR");
  std::string pattern = std::string(base != nullptr ? base : "/var/tmp") + "/mrlease-test-XXXXXX";
  if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp " + pattern);
  path_ = pattern;
  ::chmod(path_.c_str(), 0755);
  if (::chown(path_.c_str(), kNobody, kNobody) != 0) throw std::runtime_error("chown " + path_ + ": needs root");
}

TestDirectory::~TestDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string TestDirectory::file(const std::string& name, std::size_t size, char byte) const {
  const std::string p = path(name);
  std::ofstream(p) << std::string(size, byte);
  if (::chown(p.c_str(), kNobody, kNobody) != 0) throw std::runtime_error("chown " + p);
  return p;
}

DaemonProcess::DaemonProcess(const TestDirectory& directory, std::vector<std::string> options, const std::function<void()>& before) {
  const char* binary = std::getenv("MRLEASED");
  const std::string program = binary != nullptr ? binary : MRLEASED_BINARY;
  socket_ = directory.path("mrleased.sock");
  log_path_ = directory.path("mrleased.log");
  std::vector<std::string> words = {program, "--foreground", "--socket", socket_, "--root", directory.path(), "--log-level", "debug"};
  words.insert(words.end(), options.begin(), options.end());
  pid_ = ::fork();
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int log = ::open(log_path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    ::dup2(log, 2);
    if (before) before();
    std::vector<char*> argv;
    for (auto& w : words) argv.push_back(w.data());
    argv.push_back(nullptr);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  // Ready when it answers; it ends by itself when it cannot serve.
  for (const auto deadline = steady_clock::now() + std::chrono::seconds(20); steady_clock::now() < deadline;) {
    try {
      WireClient ready(socket_, !before);
      return;
    } catch (const std::runtime_error&) {
    }
    if (wait_exit(pid_, milliseconds(20))) break;
  }
  throw std::runtime_error("mrleased did not start: " + log());
}

DaemonProcess::~DaemonProcess() {
  if (pid_ > 0) stop(SIGTERM);
}

int DaemonProcess::stop(int signal) {
  if (pid_ <= 0) return 0;  // kill(-1) is everybody
  ::kill(pid_, signal);
  if (!wait_exit(pid_, std::chrono::seconds(10))) ::kill(pid_, SIGKILL);
  int status = 0;
  ::waitpid(pid_, &status, 0);
  pid_ = -1;
  return status;
}

std::string DaemonProcess::log() const {
  std::ifstream in(log_path_);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

bool DaemonProcess::says(const std::string& text) const {
  return comes_true([&] { return log().find(text) != std::string::npos; });
}

Child::Child(std::function<int()> body, bool drop_privileges) {
  pid_ = ::fork();
  if (pid_ != 0) return;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (drop_privileges && (::setgroups(0, nullptr) != 0 || ::setgid(kNobody) != 0 || ::setuid(kNobody) != 0)) ::_exit(126);
  // As after an exec: else /proc/self belongs to root, and the library cannot open its own pagemap.
  if (drop_privileges) ::prctl(PR_SET_DUMPABLE, 1);
  int status = 125;
  try {
    status = body();
  } catch (const std::exception& e) {
    ::dprintf(2, "child: %s\n", e.what());
  }
  ::_exit(status);
}

Child::~Child() {
  if (reaped_) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

bool Child::running() { return wait(milliseconds(0)) == -1; }

int Child::wait(milliseconds timeout) {
  if (reaped_) return status_;
  if (!wait_exit(pid_, timeout)) return -1;
  int status = 0;
  ::waitpid(pid_, &status, 0);
  reaped_ = true;
  return status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void Child::kill(int signal) {
  ::kill(pid_, signal);
  if (signal != SIGSTOP) return;
  // Its threads run on until each of them has seen the signal; the parent is told when the last one has.
  siginfo_t stopped;
  ::waitid(P_PID, static_cast<id_t>(pid_), &stopped, WSTOPPED | WEXITED | WNOWAIT);
}

bool is_in(pid_t task, long number) {
  std::ifstream in("/proc/" + std::to_string(task) + "/syscall");
  std::string word;
  return in >> word && word == std::to_string(number);
}

bool Child::blocked_in(long number, milliseconds timeout) {
  // There is no event for "a task blocks in the kernel": it is looked at until it does.
  for (const auto deadline = steady_clock::now() + timeout; steady_clock::now() < deadline;) {
    if (is_in(pid_, number)) return true;
    if (wait_exit(pid_, milliseconds(1))) return false;
  }
  return false;
}

}  // namespace mrlease::test
