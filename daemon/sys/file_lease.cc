// SPDX-License-Identifier: Apache-2.0
#include "daemon/sys/file_lease.h"

#include <fcntl.h>

#include <cerrno>
#include <sstream>
#include <string>

#include "daemon/sys/own_proc.h"

namespace mrlease::sys {

namespace {

// F_GETLEASE does not tell: it says F_UNLCK of none, and of one that is being broken. proc_pid_fdinfo(5): "lock: 1: LEASE ...".
bool holds_lease(int fd) {
  std::istringstream in(read_proc("self/fdinfo/" + std::to_string(fd)));
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("lock:") && line.find(" LEASE ") != std::string::npos) return true;
  return false;
}

}  // namespace

int take_write_lease(LeaseTaker& taker, int fd) {
  const int error = taker.take(fd);
  if (error == 0) return 0;
  // Ours already, and somebody waits for it to be broken: truncate(2) has counted as a writer since before it waits
  // (vfs_truncate() in fs/open.c), so that the kernel does not give it anew.
  if (error == EAGAIN && holds_lease(fd)) return 0;
  // The description is the client's: leave no owner and no signal behind.
  const f_owner_ex nobody{F_OWNER_PID, 0};
  ::fcntl(fd, F_SETSIG, 0);
  ::fcntl(fd, F_SETOWN_EX, &nobody);
  return error;
}

int drop_lease(int fd) { return ::fcntl(fd, F_SETLEASE, F_UNLCK) ? errno : 0; }

int drop_others_lease(int fd) {
  const int owner = ::fcntl(fd, F_GETOWN);
  return owner > 0 && owner == LeaseTaker::newest() ? EBUSY : drop_lease(fd);
}

int lease_type(int fd) { return ::fcntl(fd, F_GETLEASE); }

int lease_break_time() {
  std::istringstream in(read_proc("sys/fs/lease-break-time"));
  int seconds = 0;
  return in >> seconds ? seconds : 45;
}

}  // namespace mrlease::sys
