// SPDX-License-Identifier: Apache-2.0
// The file under a shared mapping of a client, named to it where its path does not lead there.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "daemon/session/descriptors.h"
#include "daemon/sys/fd.h"

namespace mrlease::session {

// A descriptor with O_PATH, by /proc/<pid>/map_files (fs/proc/base.c: no path is walked; needs CAP_SYS_ADMIN). It names the file and
// gives no right to it: the client opens it by /proc/self/fd, and the kernel judges the client. What it is spared are the directories
// above, and it has the file already. `uid`, `gid`: the client's when it connected; who has changed them since is refused, for what a
// program with the set-user-ID bit has mapped is not its caller's. May wait for the client's memory map: for a worker. The caller asks
// afterwards whether the process still lives: its number may have become another's meanwhile.
//   EFAULT   nothing is mapped there, or it cannot be read
//   ENOTSUP  no shared mapping of a regular file on a file system that can be leased
//   ENOENT   the file was unlinked
//   EAGAIN   the mapping has changed meanwhile
//   EPERM    the client has changed its user, or the daemon may not look
//   ESRCH    the client is gone
Verdict name_mapped(pid_t client, uid_t uid, gid_t gid, std::uint64_t address, sys::Fd* out);

}  // namespace mrlease::session
