// SPDX-License-Identifier: Apache-2.0
// The process at the other end of a Unix socket, as a descriptor that outlives its number.
#pragma once

#include <sys/types.h>

namespace mrlease::sys {

// A pidfd of the peer: SO_PEERPIDFD where the kernel has it (6.5), else pidfd_open(pid). -1: gone already; errno is set.
// The caller closes it.
int pidfd_of_peer(int socket, pid_t pid);

}  // namespace mrlease::sys
