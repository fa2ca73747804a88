// SPDX-License-Identifier: Apache-2.0
#include "daemon/sys/peer_pidfd.h"

#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "daemon/sys/fd.h"
#include "daemon/sys/pidfd.h"
#include "daemon/sys/task_owner.h"

namespace mrlease::sys {

namespace {
constexpr int kSoPeerPidfd = 77;  // SO_PEERPIDFD, include/uapi/asm-generic/socket.h, 6.5
}  // namespace

int pidfd_of_peer(int socket, pid_t pid, uid_t uid) {
  int fd = -1;
  socklen_t length = sizeof fd;
  if (::getsockopt(socket, SOL_SOCKET, kSoPeerPidfd, &fd, &length) == 0) return fd;
  return errno == ENOPROTOOPT ? pidfd_of_user(pid, uid) : -1;
}

int pidfd_of_user(pid_t pid, uid_t uid) {
  Fd pidfd;
  errno = open_pidfd(pid, &pidfd);
  if (errno != 0) return -1;
  // Only before 6.5, whose /proc/PID/status waits for nobody.
  TaskOwner owner;
  const bool read = read_owner(pid, &owner);
  errno = signal_pidfd(pidfd.get(), 0);  // after it was read: then that was this process's
  if (!read && errno == 0) errno = ESRCH;
  if (errno != 0) return -1;
  const bool may_kill = owner.uid == uid && (uid == 0 || owner.real_uid == uid || owner.saved_uid == uid);
  if (!may_kill) errno = EPERM;
  return may_kill ? pidfd.release() : -1;
}

}  // namespace mrlease::sys
