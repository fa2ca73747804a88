// SPDX-License-Identifier: Apache-2.0
// fcntl(2) leases: F_SETLEASE, and the signal that tells of a break.
#pragma once

#include "daemon/sys/lease_taker.h"

namespace mrlease::sys {

// Takes F_WRLCK on the description; the taker tells of a break. 0, or errno (EAGAIN: somebody else has the file open, or the taker
// does not answer). 0 also for a predecessor's lease on this description that is being broken: see lease_type().
int take_write_lease(LeaseTaker& taker, int fd);
// Gives it up; a waiting breaker goes on. 0 or errno.
int drop_lease(int fd);
// The same, but not where its breaks are told to our taker: EBUSY.
int drop_others_lease(int fd);
// F_WRLCK: held. While a breaker waits: what the lease must become, F_RDLCK (a reader) or F_UNLCK. F_UNLCK also when
// there is none. -1: errno.
int lease_type(int fd);
// Seconds until the kernel breaks a lease by force (/proc/sys/fs/lease-break-time); 45 when it cannot be read.
int lease_break_time();

}  // namespace mrlease::sys
