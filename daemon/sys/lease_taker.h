// SPDX-License-Identifier: Apache-2.0
// Takes leases on files (fcntl(2), F_SETLEASE) by a process of its own, which also hears of their breaks.
//
// A lease is on an open file description, and that is a client's, who can set at any time which signal tells of a break (F_SETSIG,
// SIGKILL among them). The kernel sends it to the owner that was set, with the rights of who had set that, and sets who takes a
// lease where there is none (lease_setup(), fs/locks.c; send_sigio(), fs/fcntl.c). So that must be nobody for whom it would be a pity: a
// process that does nothing else, has no rights, and is made anew when it is gone.
#pragma once

#include <sys/types.h>

#include <vector>

#include "daemon/sys/fd.h"

namespace mrlease::sys {

// Not thread-safe.
class LeaseTaker {
 public:
  explicit LeaseTaker(int signal) : signal_(signal) {}
  ~LeaseTaker() { stop(); }
  LeaseTaker(const LeaseTaker&) = delete;
  LeaseTaker& operator=(const LeaseTaker&) = delete;

  // F_WRLCK on the description; of one that has it already nothing changes, but that it is asked whether it could be taken anew. 0, or errno:
  // EAGAIN: somebody else has the file open. An open counts from before its permission event is queued (do_dentry_open(), fs/open.c), and
  // a truncate(2) from before it breaks the lease (vfs_truncate()). EAGAIN also when the process does not answer, or cannot be made.
  int take(int fd);

  // Readable: somebody waits for a lease. Readable: the process is gone, with what it had not told. -1: there is none.
  int breaks_fd() const { return breaks_.get(); }
  int end_fd() const { return pidfd_.get(); }
  // The descriptors, as take() got them, whose leases somebody waits for; -1: of any.
  std::vector<int> breaks();
  // Was one lost since this was asked last? The next, which take() makes, has to take each lease again: breaks of the others are told to nobody.
  bool lost();
  // In case that somebody has stopped it.
  void wake() const;
  pid_t pid() const { return pid_; }  // -1: there is none
  static pid_t newest();              // in this process

 private:
  int start();
  void stop();
  void lose();
  int ask(int fd);

  const int signal_;
  pid_t pid_ = -1;
  bool lost_ = false;
  Fd pidfd_, answers_, breaks_;
  Fd answers_end_, breaks_end_;  // its ends: the table of descriptors is shared, so that nothing is kept open by it, nor closed
};

}  // namespace mrlease::sys
