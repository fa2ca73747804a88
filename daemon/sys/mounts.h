// SPDX-License-Identifier: Apache-2.0
// Mounts, proc_pid_mountinfo(5): of the daemon's namespace, or of a process's. Reading them touches no file system.
#pragma once

#include <sys/types.h>

#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/sys/fd.h"

namespace mrlease::sys {

struct Mount {
  int id = -1;
  std::string point, type, source;
};

// Pure. Escapes (\040) are undone; lines that are not understood are left out.
std::vector<Mount> parse_mounts(std::string_view mountinfo);
std::vector<Mount> read_mounts();
// proc_pid_fdinfo(5), mnt_id: of a descriptor of this process, read without touching its file, which has to have a name in a file system: others
// may have something to say of themselves there, and wait for it (an epoll descriptor for who is inside it). -1: not known.
int mount_id(int fd);
// One of our own mounts, or one of the mount namespace of a process. Numbers of mounts are unique among all namespaces, and a
// descriptor holds its mount: whoever's list has the number tells the truth. Of a process not more than so many bytes are
// read: the list is as long as it likes. Nothing: it is not in there.
inline constexpr std::size_t kForeignMountsMax = 256 * 1024;
std::optional<Mount> own_mount(int id);
std::optional<Mount> mount_of_process(pid_t process, int id);
// How own_mount() knows. What was found once stands until a mount comes or goes: each registration asks, and on a machine with many containers
// the list is long. Thread-safe.
class OwnMounts {
 public:
  std::optional<Mount> find(int id);

 private:
  // POLLPRI: the list is another since this was last asked (fs/proc_namespace.c, mounts_poll(); proc_pid_mounts(5)).
  bool changed();

  std::mutex mutex_;
  Fd watch_;                                   // under mutex_
  std::map<int, std::optional<Mount>> found_;  // under mutex_; nothing: in another namespace
};

const Mount* find_mount(const std::vector<Mount>& mounts, int id);
// Is `path` the directory or below it?
bool is_under(std::string_view path, std::string_view directory);

}  // namespace mrlease::sys
