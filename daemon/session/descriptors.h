// SPDX-License-Identifier: Apache-2.0
// What a client passes is not trusted: each descriptor is identified before any call on it that could block or lie.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "daemon/core/types.h"

namespace mrlease::session {

struct Verdict {
  int code = 0;  // 0 or errno
  std::string message;
};

struct FileFacts {
  core::FileKey key;
  std::uint64_t size = 0;
  bool writable = false;
  std::string filesystem;
};

// A regular file, open for reading (and for writing when `write`), not O_APPEND or O_PATH, on a file system whose calls
// do not depend on a client's user space or on a network (FUSE, NFS: refused by mountinfo before any call). The mount is
// one of the daemon's namespace, or of that of process `client` (a container; 0: of nobody's).
Verdict check_file(int fd, bool write, pid_t client, FileFacts* facts);
// Calls on files of this type can wait for a network or for somebody's user space.
bool may_block(const std::string& filesystem_type);
// A descriptor of a uverbs device: a character device whose number /sys/class/infiniband_verbs knows.
Verdict check_uverbs(int fd, std::string* device);
// Bounce pages that a daemon before this one has made: sealed, and so of shmem or hugetlbfs (mm/memfd.c).
Verdict check_pages(int fd);
// Are there descriptors left for one more client or lease? A reserve is kept for the operations that the guard holds, each of which
// needs one: without it the kernel refuses them with EPERM. newest: a descriptor that has just come; it has the lowest free
// number, so that this is how many there are. share: of the reserve that may be used up.
Verdict check_room(int newest, double share = 0);
// May the daemon have so much more memory, for `own` bytes and what else is being filled? A reserve is kept for its own work: at the limit of its
// control group the kernel would kill it, and its successor with the same leases.
Verdict check_memory(std::uint64_t under_way, std::uint64_t own);
// A userfaultfd. Recognised by its link in /proc/self/fd.
Verdict check_userfaultfd(int fd);

}  // namespace mrlease::session
