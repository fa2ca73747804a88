// SPDX-License-Identifier: Apache-2.0
#include "daemon/sys/pid_namespace.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "daemon/sys/own_proc.h"

namespace mrlease::sys {
namespace {
constexpr ino_t kFirst = 0xEFFFFFFC;  // PROC_PID_INIT_INO, include/linux/proc_ns.h
}  // namespace

bool in_first_pid_namespace() {
  struct stat st {};
  return ::fstatat(own_proc(), "self/ns/pid", &st, 0) != 0 || st.st_ino == kFirst;
}

}  // namespace mrlease::sys
