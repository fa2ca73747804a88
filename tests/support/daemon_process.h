// SPDX-License-Identifier: Apache-2.0
// Processes for tests: the real daemon, and foreign tasks that run as nobody.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <string>
#include <vector>

namespace mrlease::test {

// A fresh directory on the disk (never tmpfs: the guards need a real file system), owned by nobody, removed at the end.
// $MRLEASE_TEST_DIR, else /var/tmp.
class TestDirectory {
 public:
  TestDirectory();
  ~TestDirectory();
  std::string path(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }
  // A file of `size` bytes of `byte`, owned by nobody.
  std::string file(const std::string& name, std::size_t size, char byte = 'a') const;

 private:
  std::string path_;
};

// mrleased in the foreground, ready when the constructor returns; ended by SIGTERM, and killed when that is not enough.
class DaemonProcess {
 public:
  // `before` runs in the new process. It then need not be one that the daemon serves: ready is when the socket is there.
  DaemonProcess(const TestDirectory& directory, std::vector<std::string> options = {}, const std::function<void()>& before = {});
  ~DaemonProcess();
  const std::string& socket() const { return socket_; }
  pid_t pid() const { return pid_; }
  int stop(int signal);  // and wait; the wait status
  std::string log() const;
  // In its log, or soon: a thread of the daemon's own writes that, after the fact.
  bool says(const std::string& text) const;

 private:
  std::string socket_, log_path_;
  pid_t pid_ = -1;
};

inline constexpr uid_t kNobody = 65534;

// Whether this task blocks in the system call `number` now.
bool is_in(pid_t task, long number);

// A child process that has become nobody (uid 65534) and runs `body`; its exit status is body's result.
class Child {
 public:
  explicit Child(std::function<int()> body, bool drop_privileges = true);
  ~Child();  // killed if it still runs
  pid_t pid() const { return pid_; }
  bool running();
  // Exit status, 128 + signal, or -1 when it still runs after `timeout`.
  int wait(std::chrono::milliseconds timeout = std::chrono::seconds(20));
  void kill(int signal);
  // Until the child sits in the system call `number` (it is being held), or the timeout: false.
  bool blocked_in(long number, std::chrono::milliseconds timeout = std::chrono::seconds(10));

 private:
  pid_t pid_ = -1;
  int status_ = -1;
  bool reaped_ = false;
};

}  // namespace mrlease::test
