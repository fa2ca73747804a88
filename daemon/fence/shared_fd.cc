// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include "daemon/fence/fence.h"

namespace mrlease::fence {

SharedFd::SharedFd(int fd) {
  if (fd < 0) return;
  fd_ = std::shared_ptr<const int>(new int(fd), [](const int* p) {
    ::close(*p);
    delete p;
  });
}

}  // namespace mrlease::fence
