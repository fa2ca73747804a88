// SPDX-License-Identifier: Apache-2.0
// fsync(2) and its kin: what a peer has written lies in bounce pages, or in a copy, of which the kernel knows nothing.
// The C library's own are wrappers of the system calls with nothing in between, but that they are cancellation points.
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "client-lib/src/preload/registrations.h"

using mrlease::preload::Registrations;

namespace {

int failed(int code) {
  errno = code;
  return -1;
}

}  // namespace

#define EXPORT __attribute__((visibility("default")))

extern "C" {

EXPORT int fsync(int fd) {
  const int code = Registrations::of_process().sync_file(fd);
  return code != 0 ? failed(code) : static_cast<int>(::syscall(SYS_fsync, fd));
}

EXPORT int fdatasync(int fd) {
  const int code = Registrations::of_process().sync_file(fd);
  return code != 0 ? failed(code) : static_cast<int>(::syscall(SYS_fdatasync, fd));
}

EXPORT int msync(void* address, size_t length, int flags) {
  const int code = (flags & MS_SYNC) != 0 ? Registrations::of_process().sync_range(address, length) : 0;
  return code != 0 ? failed(code) : static_cast<int>(::syscall(SYS_msync, address, length, flags));
}

}  // extern "C"
