// SPDX-License-Identifier: Apache-2.0
// A service manager by its documented protocol (sd_notify(3), sd_listen_fds(3)): a notification socket, descriptors that
// it keeps under names, a child that gets them at its start. It does with them what systemd 252 does.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "proto/fd_passing.h"
#include "tests/support/daemon_process.h"

namespace mrlease::test {

class ServiceManager {
 public:
  // directory: where the sockets and the log are.
  ServiceManager(const TestDirectory& directory, std::vector<std::string> options = {});
  ~ServiceManager();  // kills the service, closes what is kept

  // Starts the service with a listening socket and everything that is kept; returns when it has said READY=1. Throws
  // std::runtime_error with its log.
  void start();
  void kill(int signal);  // and reap; what is kept stays
  void signal(int number);
  // The service has stopped for good: everything kept is closed, as systemd does.
  void release();
  pid_t pid() const { return pid_; }
  const std::string& socket() const { return socket_; }
  std::string log() const;
  bool says(const std::string& text) const;  // as DaemonProcess has it

  // How many notifications with this line have come since the start() before; waits for more than `seen`.
  bool wait_for(const std::string& line, int seen = 0, std::chrono::milliseconds timeout = std::chrono::seconds(10));
  int count(const std::string& line);
  std::vector<std::string> names();  // of what is kept, sorted
  int kept(const std::string& name);  // its descriptor, or -1
  // Until exactly so many are kept; else the names tell.
  bool wait_for_names(std::size_t count, std::chrono::milliseconds timeout = std::chrono::seconds(10));

  std::map<std::string, std::string> environment;  // for the next start()
  bool activate = true;                            // hand over a listening socket

 private:
  void serve();
  void take(std::string text, std::vector<wire::Fd> fds);
  [[noreturn]] void exec(const std::vector<int>& fds, const std::string& names) const;

  std::vector<std::string> words_;
  std::string socket_, notify_path_, log_path_;
  wire::Fd listener_, notify_, stop_;
  pid_t pid_ = -1;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, int> lines_;                          // under mutex_
  std::vector<std::pair<std::string, wire::Fd>> kept_;        // under mutex_
  std::thread thread_;
};

}  // namespace mrlease::test
