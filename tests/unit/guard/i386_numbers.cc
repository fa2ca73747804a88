// SPDX-License-Identifier: Apache-2.0
// In a file of its own: these names stand for other numbers everywhere else.
#include "tests/unit/guard/i386_numbers.h"

#include <asm/unistd_32.h>

namespace mrlease::guard {

std::vector<long> i386_content_calls() {
  return {__NR_read,       __NR_write,      __NR_truncate,    __NR_ftruncate,       __NR_truncate64,  __NR_ftruncate64,
          __NR_readv,      __NR_writev,     __NR_pread64,     __NR_pwrite64,        __NR_preadv,      __NR_pwritev,
          __NR_preadv2,    __NR_pwritev2,   __NR_sendfile,    __NR_sendfile64,      __NR_splice,      __NR_fallocate,
          __NR_mmap,       __NR_mmap2,      __NR_ioctl,       __NR_copy_file_range, __NR_madvise,     __NR_readahead,
          __NR_io_submit,  __NR_acct,       __NR_fadvise64,   __NR_process_madvise, __NR_io_uring_enter,
          __NR_execve,     __NR_uselib,     __NR_swapon,      __NR_quotactl,        __NR_fadvise64_64};
}

std::vector<long> i386_open_calls() {
  return {__NR_open, __NR_creat, __NR_openat, __NR_openat2, __NR_open_by_handle_at, __NR_execve, __NR_uselib, __NR_acct};
}

}  // namespace mrlease::guard
