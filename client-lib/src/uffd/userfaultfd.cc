// SPDX-License-Identifier: Apache-2.0
#include "client-lib/src/uffd/userfaultfd.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proto/kernel_uapi.h"

namespace mrlease::client {
namespace {

// linux/userfaultfd.h; MINOR_SHMEM 5.14, WP_HUGETLBFS_SHMEM 5.19, WP_UNPOPULATED 6.4, POISON 6.6, WP_ASYNC 6.7.
constexpr std::uint64_t kFeatures = UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_MINOR_SHMEM |
                                    UFFD_FEATURE_WP_HUGETLBFS_SHMEM | UFFD_FEATURE_PAGEFAULT_FLAG_WP |
                                    UFFD_FEATURE_WP_UNPOPULATED | UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_POISON;

}  // namespace

Outcome Userfaultfd::open(int device, Userfaultfd* out) {
  const int flags = O_CLOEXEC | O_NONBLOCK;
#ifndef USERFAULTFD_IOC_NEW  // linux/userfaultfd.h, 6.1
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)
#endif
  const long fd = device >= 0 ? ::ioctl(device, USERFAULTFD_IOC_NEW, flags) : ::syscall(SYS_userfaultfd, flags);
  if (fd < 0) return from_errno("userfaultfd");
  Userfaultfd made;
  made.fd_ = wire::Fd(static_cast<int>(fd));
  uffdio_api api{};
  api.api = UFFD_API;
  api.features = kFeatures;
  if (::ioctl(made.fd(), UFFDIO_API, &api) != 0) {
    return from_errno("this kernel's userfaultfd lacks what a freeze needs (6.7 and later have it)");
  }
  *out = std::move(made);
  return {};
}

int Userfaultfd::watch(void* begin, std::size_t length) const {
  uffdio_register r{};
  r.range = {address(begin), length};
  r.mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP | UFFDIO_REGISTER_MODE_MINOR;
  return ::ioctl(fd(), UFFDIO_REGISTER, &r) == 0 ? 0 : errno;
}

int Userfaultfd::unwatch(void* begin, std::size_t length) const {
  uffdio_range r{address(begin), length};
  return ::ioctl(fd(), UFFDIO_UNREGISTER, &r) == 0 ? 0 : errno;
}

int Userfaultfd::fill(std::uint64_t page, const void* from, std::size_t length, std::size_t* filled) const {
  uffdio_copy c{};
  c.dst = page;
  c.src = address(from);
  c.len = length;
  c.mode = UFFDIO_COPY_MODE_WP;
  const int code = ::ioctl(fd(), UFFDIO_COPY, &c) == 0 ? 0 : errno;
  if (filled != nullptr) *filled = c.copy > 0 ? static_cast<std::size_t>(c.copy) : 0;
  return code;
}

int Userfaultfd::proceed(std::uint64_t page) const {
  uffdio_continue c{};
  c.range = {page, kPage};
  c.mode = UFFDIO_CONTINUE_MODE_WP;
  return ::ioctl(fd(), UFFDIO_CONTINUE, &c) == 0 ? 0 : errno;
}

int Userfaultfd::poison(std::uint64_t page) const {
  uffdio_poison p{};
  p.range = {page, kPage};
  return ::ioctl(fd(), UFFDIO_POISON, &p) == 0 ? 0 : errno;
}

void Userfaultfd::wake(std::uint64_t begin, std::size_t length) const {
  uffdio_range r{begin, length};
  ::ioctl(fd(), UFFDIO_WAKE, &r);
}

}  // namespace mrlease::client
