// SPDX-License-Identifier: Apache-2.0
// A memfd mapping registered with a userfaultfd, as a client's gate is.
#pragma once

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <system_error>

#include "proto/kernel_uapi.h"

namespace mrlease::fence {

inline constexpr std::uint64_t kPage = 4096;

// -1 with errno: this kernel, or this user, has none.
inline int open_userfaultfd(int flags, std::uint64_t features) {
  const int fd = static_cast<int>(::syscall(SYS_userfaultfd, flags | O_CLOEXEC));
  if (fd < 0) return -1;
  uffdio_api api{UFFD_API, features, 0};
  if (::ioctl(fd, UFFDIO_API, &api) == 0) return fd;
  const int code = errno;
  ::close(fd);
  errno = code;
  return -1;
}

inline char* map_pages(std::uint64_t count) {
  const int memfd = ::memfd_create("gated", MFD_CLOEXEC);
  if (memfd < 0 || ::ftruncate(memfd, static_cast<off_t>(count * kPage)) != 0) {
    throw std::system_error(errno, std::generic_category(), "memfd");
  }
  void* p = ::mmap(nullptr, count * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
  ::close(memfd);
  if (p == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "mmap");
  return static_cast<char*>(p);
}

inline void gate(int userfaultfd, const char* address, std::uint64_t count) {
  uffdio_register request{{reinterpret_cast<std::uint64_t>(address), count * kPage}, UFFDIO_REGISTER_MODE_MISSING, 0};
  if (::ioctl(userfaultfd, UFFDIO_REGISTER, &request) != 0) {
    throw std::system_error(errno, std::generic_category(), "UFFDIO_REGISTER");
  }
}

// A poisoned page answers the kernel's own copy with EFAULT; a gated one would let it wait for ever, so ask only what
// is believed to be poisoned, or present.
inline bool poisoned(const char* page) {
  int pipe_fds[2];
  if (::pipe(pipe_fds) != 0) throw std::system_error(errno, std::generic_category(), "pipe");
  const ssize_t n = ::write(pipe_fds[1], page, 1);
  const int code = n < 0 ? errno : 0;
  ::close(pipe_fds[0]);
  ::close(pipe_fds[1]);
  return code == EFAULT;
}

}  // namespace mrlease::fence
