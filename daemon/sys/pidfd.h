// SPDX-License-Identifier: Apache-2.0
// pidfd_open(2) and pidfd_send_signal(2): a process that cannot be mistaken for its number's next owner.
#pragma once

#include "daemon/sys/fd.h"

namespace mrlease::sys {

// 0, or errno (ESRCH: gone). The descriptor is readable when the process has ended.
int open_pidfd(int pid, Fd* pidfd);
// 0, or errno (ESRCH: already ended).
int signal_pidfd(int pidfd, int signal);

}  // namespace mrlease::sys
