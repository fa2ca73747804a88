// SPDX-License-Identifier: Apache-2.0
// The process at the other end of a Unix socket, as a descriptor that outlives its number.
#pragma once

#include <sys/types.h>

namespace mrlease::sys {

// A pidfd of the peer: SO_PEERPIDFD where the kernel has it (6.5), else pidfd_of_user(). -1, with errno: gone already, or EPERM. The caller
// closes it.
int pidfd_of_peer(int socket, pid_t pid, uid_t uid);
// pidfd_open(pid). The peer may have ended before it was accepted, and its number may be another process's by now, which a fence
// would kill. So it has to be one that user `uid` may kill (kill(2)); else EPERM.
int pidfd_of_user(pid_t pid, uid_t uid);

}  // namespace mrlease::sys
