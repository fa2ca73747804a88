// SPDX-License-Identifier: Apache-2.0
#include "daemon/session/client_mapping.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>

#include "daemon/sys/mounts.h"
#include "daemon/sys/own_proc.h"
#include "daemon/sys/proc_maps.h"
#include "daemon/sys/task_owner.h"

namespace mrlease::session {

namespace {

std::string hex(std::uint64_t value) {
  char text[20];
  std::snprintf(text, sizeof text, "%llx", static_cast<unsigned long long>(value));
  return text;
}

// Named, and not opened: to open a device may do something, and a FUSE file system may never answer.
Verdict check_named(int named, pid_t client, std::uint64_t inode) {
  const int id = sys::mount_id(named);
  auto mount = sys::own_mount(id);
  if (!mount) mount = sys::mount_of_process(client, id);
  if (!mount) return {ENOTSUP, "the file's mount is neither in the daemon's mount namespace nor in the client's"};
  if (may_block(mount->type)) return {ENOTSUP, "files on " + mount->type + " cannot be leased: the daemon could be made to wait for them"};
  struct stat st {};
  if (::fstat(named, &st) != 0) return {errno, std::string("fstat: ") + std::strerror(errno)};
  if (st.st_ino != inode) return {EAGAIN, "the mapping has changed meanwhile"};
  if (!S_ISREG(st.st_mode)) return {ENOTSUP, "not a regular file; only regular files can be leased"};
  if (st.st_nlink == 0) return {ENOENT, "the file was unlinked; register it by a descriptor of it"};
  return {};
}

}  // namespace

Verdict name_mapped(pid_t client, uid_t uid, gid_t gid, std::uint64_t address, sys::Fd* out) {
  sys::TaskOwner owner;
  if (!sys::read_owner(client, &owner)) return {ESRCH, "the client is gone, or cannot be looked at"};
  if (owner.uid != uid || owner.gid != gid) return {EPERM, "the client has changed its user since it connected; connect again"};
  const auto mapping = sys::mapping_at(client, address);
  if (!mapping || !mapping->readable()) return {EFAULT, "nothing that can be read is mapped there"};
  if (!mapping->shared() || mapping->inode == 0) return {ENOTSUP, "not a shared mapping of a file"};
  const std::string path = std::to_string(client) + "/map_files/" + hex(mapping->begin) + "-" + hex(mapping->end);
  sys::Fd named = sys::open_proc(path.c_str(), O_PATH);
  if (!named) {
    const int code = errno;
    if (code == ENOENT) return {EAGAIN, "the mapping has changed meanwhile"};
    return {code, std::string("/proc/PID/map_files: ") + std::strerror(code)};
  }
  if (const Verdict v = check_named(named.get(), client, mapping->inode); v.code != 0) return v;
  if (sys::mapping_at(client, address) != mapping) return {EAGAIN, "the mapping has changed meanwhile"};
  *out = std::move(named);
  return {};
}

}  // namespace mrlease::session
