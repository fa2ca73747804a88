// SPDX-License-Identifier: Apache-2.0
#include "daemon/sys/userfaultfd.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include <cerrno>

#include "daemon/sys/fd.h"
#include "proto/kernel_uapi.h"

namespace mrlease::sys {

std::uint64_t userfaultfd_features_needed() {
  return UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_MINOR_SHMEM | UFFD_FEATURE_WP_HUGETLBFS_SHMEM | UFFD_FEATURE_PAGEFAULT_FLAG_WP |
         UFFD_FEATURE_WP_UNPOPULATED | UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_POISON;
}

int probe_userfaultfd(std::uint64_t* features) {
  const Fd fd(static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK)));
  if (!fd) return errno;
  uffdio_api api{};
  api.api = UFFD_API;  // no feature asked for: the answer names all
  if (::ioctl(fd.get(), UFFDIO_API, &api) != 0) return errno;
  *features = api.features;
  return 0;
}

}  // namespace mrlease::sys
