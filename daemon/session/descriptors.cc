// SPDX-License-Identifier: Apache-2.0
#include "daemon/session/descriptors.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "daemon/sys/apart.h"
#include "daemon/sys/memory_room.h"
#include "daemon/sys/mounts.h"
#include "daemon/sys/own_proc.h"

namespace mrlease::session {

namespace {

constexpr rlim_t kReserveMax = 256;
constexpr std::uint64_t kMiB = 1 << 20, kMemoryReserve = 16 * kMiB;  // itself it has 5 MiB with a few clients (tests/soak/last.txt)

Verdict no(int code, std::string message) { return {code, std::move(message)}; }

// By the list of all drivers, "Character devices:" first: "231 infiniband_verbs".
bool is_uverbs(unsigned major) {
  std::istringstream drivers(sys::read_proc("devices"));
  unsigned number = 0;
  std::string name;
  for (std::string line; std::getline(drivers, line) && line != "Block devices:";)
    if (std::istringstream(line) >> number >> name && number == major && name == "infiniband_verbs") return true;
  return false;
}

// Its name, by the number of its uverbs device; empty: there is none.
std::string device_with(const std::string& number) {
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/sys/class/infiniband_verbs", ignored)) {
    std::ifstream in(entry.path() / "dev");
    std::string its;
    if (!(in >> its) || its != number) continue;
    std::ifstream ibdev(entry.path() / "ibdev");
    std::string name;
    ibdev >> name;
    return name;
  }
  return {};
}

}  // namespace

bool may_block(const std::string& type) {
  static const std::array<const char*, 9> kinds = {"fuse", "nfs", "cifs", "smb3", "ceph", "afs", "9p", "coda", "orangefs"};
  for (const char* kind : kinds)
    if (type.rfind(kind, 0) == 0) return true;
  return false;
}

Verdict check_file(int fd, bool write, pid_t client, FileFacts* facts) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0) return no(EBADF, "the descriptor is not open");
  if ((flags & O_PATH) != 0) return no(EBADF, "the descriptor was opened with O_PATH; open it for reading and writing");
  // It may be anything, and what the kernel tells of its mount it tells together with what others have to say of themselves: an epoll descriptor
  // waits for who is inside it, /dev/net/tun for all network devices. So that is asked of regular files only. What has no name in a file system
  // ("anon_inode:[eventpoll]", "socket:[12]") is none; of what has one statx(2), AT_STATX_DONT_SYNC, says what the kernel knows already.
  const std::string name = sys::link_of(fd);
  const bool named = name.empty() ? errno == ENAMETOOLONG : name[0] == '/';
  struct statx type {};
  const bool told = named && ::statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_MNT_ID, &type) == 0;
  if (named && !told && errno != EACCES) return no(errno, std::string("statx: ") + std::strerror(errno));  // FUSE says EACCES to who is not its user
  if (told && S_ISDIR(type.stx_mode)) return no(EISDIR, "the descriptor is a directory; only regular files can be leased");
  if (!named || (told && !S_ISREG(type.stx_mode))) return no(ENOTSUP, "not a regular file; only regular files can be leased");
  // The same number as fdinfo's (fs/stat.c and fs/proc/fd.c: real_mount(path.mnt)->mnt_id), for one system call instead of four.
  const int mount = told && (type.stx_mask & STATX_MNT_ID) != 0 ? static_cast<int>(type.stx_mnt_id) : sys::mount_id(fd);
  auto found = sys::own_mount(mount);
  const bool ours = found.has_value();
  if (!ours && client > 0) {
    const auto theirs = sys::apart(client, [client, mount] { return sys::mount_of_process(client, mount); });
    if (!theirs) return no(EAGAIN, "the client's mounts could not be read in time; try again");
    found = *theirs;
  }
  if (found) {
    facts->filesystem = found->type;
    // Anybody can mount one, in a user namespace of his own, over a FUSE file system of his own.
    if (!ours && facts->filesystem == "overlay")
      return no(ENOTSUP, "files on an overlay of a container cannot be leased: what is below it is not known; use a volume");
  } else if (::fcntl(fd, F_GET_SEALS) >= 0) {  // memory files have no mount that anybody sees
    facts->filesystem = "memfd";
  } else {  // it cannot be judged: any call on it could wait
    return no(ENOTSUP, "the file's mount is neither in the daemon's mount namespace nor in the client's: open it in one of them");
  }
  if (may_block(facts->filesystem))
    return no(ENOTSUP, "files on " + facts->filesystem + " cannot be leased: the daemon could be made to wait for them");
  struct stat st {};
  if (::fstat(fd, &st) != 0) return no(errno, std::string("fstat: ") + std::strerror(errno));
  if (!S_ISREG(st.st_mode)) return no(ENOTSUP, "not a regular file; only regular files can be leased");
  if ((flags & O_APPEND) != 0) return no(EINVAL, "the descriptor was opened with O_APPEND, which ignores offsets; open it without");
  const int mode = flags & O_ACCMODE;
  if (mode == O_WRONLY) return no(EACCES, "the descriptor is not open for reading");
  facts->writable = mode == O_RDWR;
  if (write && !facts->writable) return no(EACCES, "write access needs a descriptor open for reading and writing");
  facts->key = {st.st_dev, st.st_ino};
  facts->size = static_cast<std::uint64_t>(st.st_size);
  return {};
}

Verdict check_uverbs(int fd, std::string* device) {
  struct statx st {};
  if (::statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &st) != 0)
    return no(EBADF, "the device descriptor is not open");
  if (!S_ISCHR(st.stx_mode)) return no(EBADF, "the device descriptor is not a uverbs device");
  const std::string want = std::to_string(st.stx_rdev_major) + ":" + std::to_string(st.stx_rdev_minor);
  // Who reads that directory into memory that never comes, and has somebody behind him who asks to change it, keeps it locked (own_proc.h).
  const auto found = sys::apart(0, [want] { return device_with(want); });
  *device = found.value_or("");
  // Its name is for people. That it is one is told by its major number as well.
  if (!device->empty() || (!found && is_uverbs(st.stx_rdev_major))) return {};
  return no(ENODEV, "no RDMA device has the number " + want + " of the descriptor: it is closed, or gone");
}

Verdict check_room(int newest, double share) {
  rlimit limit{};
  if (newest < 0 || ::getrlimit(RLIMIT_NOFILE, &limit) != 0) return {};
  const rlim_t reserve = std::min<rlim_t>(kReserveMax, limit.rlim_cur / 4);
  const auto kept = static_cast<rlim_t>(static_cast<double>(reserve) * (1 - share));
  if (static_cast<rlim_t>(newest) + kept < limit.rlim_cur) return {};
  return no(EMFILE, "mrleased has " + std::to_string(newest) + " descriptors open of " + std::to_string(limit.rlim_cur) +
                        ", and keeps the rest for operations that it holds: raise LimitNOFILE=, or end leases");
}

Verdict check_memory(std::uint64_t under_way, std::uint64_t own) {
  static sys::MemoryRoom of_ours(kMemoryReserve);
  const auto room = of_ours.before(under_way, own);
  if (!room || under_way <= *room) return {};
  return no(ENOMEM, "mrleased may have " + std::to_string(*room / kMiB) + " MiB more, and keeps " + std::to_string(kMemoryReserve / kMiB) +
                        " besides for itself: raise MemoryMax= of its service, or lease less with bounce pages");
}

Verdict check_pages(int fd) {
  const int seals = ::fcntl(fd, F_GET_SEALS);
  if (seals >= 0 && (seals & F_SEAL_SHRINK) != 0 && (seals & F_SEAL_GROW) != 0) return {};
  return no(EINVAL, "the bounce pages to reclaim are not a daemon's");
}

Verdict check_userfaultfd(int fd) {
  if (sys::link_of(fd) == "anon_inode:[userfaultfd]") return {};
  return no(EBADF, "the descriptor is not a userfaultfd");
}

}  // namespace mrlease::session
