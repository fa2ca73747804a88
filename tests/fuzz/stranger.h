// SPDX-License-Identifier: Apache-2.0
// A process that is somebody's client: it makes the connection, so that the daemon takes it for its peer, and may kill it.
#pragma once

#include <sys/types.h>

#include <utility>

#include "proto/fd_passing.h"

namespace mrlease::fuzz {

class Stranger {
 public:
  Stranger() = default;
  ~Stranger();
  Stranger(const Stranger&) = delete;
  Stranger& operator=(const Stranger&) = delete;

  // Both ends of a new connection of that process; another process, where it was killed.
  std::pair<wire::Fd, wire::Fd> connect();

 private:
  bool ask(std::pair<wire::Fd, wire::Fd>* ends);
  void begin();
  void end();

  pid_t pid_ = 0;
  wire::Fd control_;
};

}  // namespace mrlease::fuzz
