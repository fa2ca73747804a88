// SPDX-License-Identifier: Apache-2.0
#include "daemon/sys/same_open_file.h"

#include <linux/kcmp.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace mrlease::sys {

bool same_open_file(int a, int b) {
  const auto pid = ::getpid();
  return ::syscall(SYS_kcmp, pid, pid, KCMP_FILE, static_cast<unsigned long>(a), static_cast<unsigned long>(b)) == 0;
}

}  // namespace mrlease::sys
