// SPDX-License-Identifier: Apache-2.0
#include "daemon/sys/pidfd.h"

#include <sys/syscall.h>

#include <cerrno>

namespace mrlease::sys {

int open_pidfd(int pid, Fd* pidfd) {
  int fd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));  // always close-on-exec
  if (fd < 0) return errno;
  pidfd->reset(fd);
  return 0;
}

int signal_pidfd(int pidfd, int signal) {
  return ::syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0) ? errno : 0;
}

}  // namespace mrlease::sys
