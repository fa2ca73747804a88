// SPDX-License-Identifier: Apache-2.0
// fcntl(2) leases: F_SETLEASE, and the signal that tells of a break.
#pragma once

namespace mrlease::sys {

// Takes F_WRLCK on the description; a break sends `signal`, with si_fd = fd, to the thread `tid` alone. 0, or errno
// (EAGAIN: somebody else has the file open). 0 also for a predecessor's lease on this description that is being broken: see
// lease_type().
int take_write_lease(int fd, int signal, int tid);
// Asked of who holds the lease, which stays as it is. An open counts from before its permission event is queued (do_dentry_open(),
// fs/open.c), and a truncate(2) from before it breaks the lease (vfs_truncate()).
bool nobody_else_has_it_open(int fd);
// Gives it up; a waiting breaker goes on. 0 or errno.
int drop_lease(int fd);
// F_WRLCK: held. While a breaker waits: what the lease must become, F_RDLCK (a reader) or F_UNLCK. F_UNLCK also when
// there is none. -1: errno.
int lease_type(int fd);
// Seconds until the kernel breaks a lease by force (/proc/sys/fs/lease-break-time); 45 when it cannot be read.
int lease_break_time();

}  // namespace mrlease::sys
