// SPDX-License-Identifier: Apache-2.0
#include "daemon/sys/peer_pidfd.h"

#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace mrlease::sys {

namespace {
constexpr int kSoPeerPidfd = 77;  // SO_PEERPIDFD, include/uapi/asm-generic/socket.h, 6.5
}  // namespace

int pidfd_of_peer(int socket, pid_t pid) {
  int fd = -1;
  socklen_t length = sizeof fd;
  if (::getsockopt(socket, SOL_SOCKET, kSoPeerPidfd, &fd, &length) == 0) return fd;
  return static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
}

}  // namespace mrlease::sys
