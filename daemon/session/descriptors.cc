// SPDX-License-Identifier: Apache-2.0
#include "daemon/session/descriptors.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace mrlease::session {

namespace {

// proc_pid_fdinfo(5): "mnt_id" of a descriptor, read without touching the file itself.
int mount_of(int fd) {
  std::ifstream in("/proc/self/fdinfo/" + std::to_string(fd));
  std::string word;
  while (in >> word) {
    int id;
    if (word == "mnt_id:" && in >> id) return id;
  }
  return -1;
}

// proc_pid_mountinfo(5): the file system type stands behind the lone "-". Empty: not in our mount namespace.
std::string filesystem_of(int mount_id) {
  std::ifstream in("/proc/self/mountinfo");
  std::string line;
  while (std::getline(in, line)) {
    std::istringstream words(line);
    int id;
    if (!(words >> id) || id != mount_id) continue;
    const auto dash = line.find(" - ");
    if (dash == std::string::npos) return {};
    std::istringstream rest(line.substr(dash + 3));
    std::string type;
    rest >> type;
    return type;
  }
  return {};
}

Verdict no(int code, std::string message) { return {code, std::move(message)}; }

}  // namespace

int mount_id(int fd) { return mount_of(fd); }

bool may_block(const std::string& type) {
  static const std::array<const char*, 9> kinds = {"fuse", "nfs", "cifs", "smb3", "ceph", "afs", "9p", "coda", "orangefs"};
  for (const char* kind : kinds)
    if (type.rfind(kind, 0) == 0) return true;
  return false;
}

Verdict check_file(int fd, bool write, FileFacts* facts) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0) return no(EBADF, "the descriptor is not open");
  if ((flags & O_PATH) != 0) return no(EBADF, "the descriptor was opened with O_PATH; open it for reading and writing");
  facts->filesystem = filesystem_of(mount_of(fd));
  // A mount that is not ours (a container's) cannot be judged; memory files have none, and answer F_GET_SEALS.
  if (facts->filesystem.empty()) {
    if (::fcntl(fd, F_GET_SEALS) < 0)
      return no(ENOTSUP, "the file's mount is not visible to the daemon: mount it in the daemon's namespace too");
    facts->filesystem = "memfd";
  }
  if (may_block(facts->filesystem))
    return no(ENOTSUP, "files on " + facts->filesystem + " cannot be leased: the daemon could be made to wait for them");
  struct stat st {};
  if (::fstat(fd, &st) != 0) return no(errno, std::string("fstat: ") + std::strerror(errno));
  if (S_ISDIR(st.st_mode)) return no(EISDIR, "the descriptor is a directory; only regular files can be leased");
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
  struct stat st {};
  // A character device's fstat cannot block, whatever the driver: the inode is in devtmpfs.
  if (mount_of(fd) < 0 || ::fstat(fd, &st) != 0) return no(EBADF, "the device descriptor is not open");
  if (!S_ISCHR(st.st_mode)) return no(EBADF, "the device descriptor is not a uverbs device");
  const std::string want = std::to_string(major(st.st_rdev)) + ":" + std::to_string(minor(st.st_rdev));
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/sys/class/infiniband_verbs", ignored)) {
    std::ifstream in(entry.path() / "dev");
    std::string number;
    if (!(in >> number) || number != want) continue;
    std::ifstream ibdev(entry.path() / "ibdev");
    ibdev >> *device;
    return {};
  }
  return no(ENODEV, "no RDMA device has the number " + want + " of the descriptor: it is closed, or gone");
}

Verdict check_userfaultfd(int fd) {
  std::array<char, 64> link{};
  const auto n = ::readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), link.data(), link.size() - 1);
  if (n > 0 && std::strcmp(link.data(), "anon_inode:[userfaultfd]") == 0) return {};
  return no(EBADF, "the descriptor is not a userfaultfd");
}

}  // namespace mrlease::session
