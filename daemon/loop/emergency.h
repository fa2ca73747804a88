// SPDX-License-Identifier: Apache-2.0
// mrleasectl disarm: a socket with a thread of its own, which works when the loop does not.
#pragma once

#include <functional>
#include <string>
#include <thread>

#include "daemon/sys/fd.h"

namespace mrlease::loop {

// Thread-safe. Serves "disarm.sock" beside the clients' socket. Whoever connects and is root (SO_PEERCRED) has disarm called,
// in the thread, and is told when it is through. Others are hung up on. disarmed is called after that: it may need what
// the loop holds, such as the log, and then waits for it.
class Emergency {
 public:
  // Throws std::system_error.
  Emergency(const std::string& clients_socket, std::function<void()> disarm, std::function<void()> disarmed);
  ~Emergency();
  const std::string& path() const { return path_; }

 private:
  void run();
  void serve(sys::Fd peer);

  std::string path_;
  std::function<void()> disarm_, disarmed_;
  sys::Fd socket_, stop_;
  std::thread thread_;
};

}  // namespace mrlease::loop
