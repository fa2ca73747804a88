// SPDX-License-Identifier: Apache-2.0
#include "daemon/sys/name_of.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/sys/fd.h"
#include "daemon/sys/own_proc.h"

namespace mrlease::sys {

std::string name_of(int fd) {
  const std::string path = link_of(fd);
  if (!path.starts_with('/')) return {};
  // A client may have mounted what it likes there. RESOLVE_CACHED (linux/openat2.h, Linux 5.12): what is not in the caches, or asks
  // a file system of somebody's, is an error instead of a wait.
  open_how how{};
  how.flags = O_PATH | O_CLOEXEC | O_NOFOLLOW;
  how.resolve = RESOLVE_CACHED | RESOLVE_NO_SYMLINKS;
  const Fd there(static_cast<int>(::syscall(SYS_openat2, AT_FDCWD, path.c_str(), &how, sizeof how)));
  struct statx a {}, b {};
  if (!there) return {};
  const auto look = [](int which, struct statx* to) {
    return ::statx(which, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO, to) == 0;
  };
  if (!look(fd, &a) || !look(there.get(), &b)) return {};
  const bool same = a.stx_ino == b.stx_ino && a.stx_dev_major == b.stx_dev_major && a.stx_dev_minor == b.stx_dev_minor;
  return same ? path : std::string();
}

}  // namespace mrlease::sys
