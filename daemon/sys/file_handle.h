// SPDX-License-Identifier: Apache-2.0
// The name that the kernel itself gives to a file, as fanotify reports it with FAN_REPORT_FID.
#pragma once

#include <compare>
#include <cstdint>
#include <string>

#include "daemon/sys/fd.h"

namespace mrlease::sys {

struct FileId {
  std::uint64_t fsid = 0;  // statfs(2) f_fsid
  int type = 0;
  std::string bytes;
  auto operator<=>(const FileId&) const = default;
};

// 0 or errno (EOPNOTSUPP: the file system has no handles). Must not be called on a file system that can block.
int file_id(int fd, FileId* id);
// Opens a file by its handle; `mount_fd`: any descriptor on its file system. Needs CAP_DAC_READ_SEARCH. 0 or errno.
int open_file_id(int mount_fd, const FileId& id, int flags, Fd* file);

}  // namespace mrlease::sys
