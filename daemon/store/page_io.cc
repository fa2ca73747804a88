// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/page_io.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "daemon/sys/file_lease.h"

namespace mrlease::store {

bool LeaseInTheWay::removed(int fd, int error) {
  const bool gone = error == EPERM && left_-- > 0 && sys::drop_others_lease(fd) == 0;
  errno = error;  // the caller's still
  return gone;
}

int read_zero_filled(int fd, char* buffer, std::size_t length, std::uint64_t offset) {
  std::size_t at = 0;
  LeaseInTheWay lease;
  while (at < length) {
    const ssize_t n = ::pread(fd, buffer + at, length - at, static_cast<off_t>(offset + at));
    if (n < 0 && (errno == EINTR || lease.removed(fd, errno))) continue;
    if (n < 0) return errno;
    if (n == 0) break;
    at += static_cast<std::size_t>(n);
  }
  std::memset(buffer + at, 0, length - at);
  return 0;
}

int write_all(int fd, const char* buffer, std::size_t length, std::uint64_t offset, std::size_t* written) {
  *written = 0;
  LeaseInTheWay lease;
  while (*written < length) {
    const ssize_t n = ::pwrite(fd, buffer + *written, length - *written, static_cast<off_t>(offset + *written));
    if (n < 0 && (errno == EINTR || lease.removed(fd, errno))) continue;
    if (n < 0) return errno;
    if (n == 0) return EIO;  // cannot be on a file; never spin
    *written += static_cast<std::size_t>(n);
  }
  return 0;
}

void* map_file(int fd, std::size_t length, std::uint64_t offset) {
  LeaseInTheWay lease;
  void* map;
  do map = ::mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, static_cast<off_t>(offset));
  while (map == MAP_FAILED && lease.removed(fd, errno));
  return map;
}

int file_size(int fd, std::uint64_t* size) {
  struct stat s;
  if (::fstat(fd, &s) != 0) return errno;
  *size = static_cast<std::uint64_t>(s.st_size);
  return 0;
}

}  // namespace mrlease::store
