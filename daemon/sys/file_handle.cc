// SPDX-License-Identifier: Apache-2.0
#include "daemon/sys/file_handle.h"

#include <fcntl.h>
#include <sys/vfs.h>

#include <cerrno>
#include <cstring>

namespace mrlease::sys {
namespace {

struct HandleBuffer {
  alignas(file_handle) char raw[sizeof(file_handle) + MAX_HANDLE_SZ] = {};
  file_handle* get() { return reinterpret_cast<file_handle*>(raw); }
};

}  // namespace

int file_id(int fd, FileId* id) {
  struct statfs fs;
  if (::fstatfs(fd, &fs)) return errno;
  HandleBuffer buffer;
  buffer.get()->handle_bytes = MAX_HANDLE_SZ;
  int mount_id = 0;
  if (::name_to_handle_at(fd, "", buffer.get(), &mount_id, AT_EMPTY_PATH)) return errno;
  std::memcpy(&id->fsid, &fs.f_fsid, sizeof id->fsid);
  id->type = buffer.get()->handle_type;
  id->bytes.assign(reinterpret_cast<char*>(buffer.get()->f_handle), buffer.get()->handle_bytes);
  return 0;
}

int open_file_id(int mount_fd, const FileId& id, int flags, Fd* file) {
  if (id.bytes.size() > MAX_HANDLE_SZ) return EINVAL;
  HandleBuffer buffer;
  buffer.get()->handle_bytes = id.bytes.size();
  buffer.get()->handle_type = id.type;
  std::memcpy(buffer.get()->f_handle, id.bytes.data(), id.bytes.size());
  int fd = ::open_by_handle_at(mount_fd, buffer.get(), flags | O_CLOEXEC);
  if (fd < 0) return errno;
  file->reset(fd);
  return 0;
}

}  // namespace mrlease::sys
