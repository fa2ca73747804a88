// SPDX-License-Identifier: Apache-2.0
#include "daemon/sys/own_proc.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <system_error>

namespace mrlease::sys {
namespace {

struct Root {
  int fd = -1;
  bool own = true;
};

Root mount_proc() {
  const Fd context(::fsopen("proc", FSOPEN_CLOEXEC));
  if (context && ::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) == 0) {
    const int root = ::fsmount(context.get(), FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    if (root >= 0) return {root};
  }
  const int shared = ::open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (shared < 0) throw std::system_error(errno, std::generic_category(), "/proc");
  return {shared, false};
}

const Root& root() {
  static const Root it = mount_proc();
  return it;
}

}  // namespace

int own_proc() { return root().fd; }

bool has_own_proc() { return root().own; }

Fd open_proc(const char* path, int flags) { return Fd(::openat(own_proc(), path, flags | O_CLOEXEC)); }

std::string read_proc(const std::string& path, std::size_t most) {
  const Fd file = open_proc(path.c_str());
  std::string text;
  std::array<char, 16384> piece;
  ssize_t n = 0;
  while (file && text.size() < most && (n = ::read(file.get(), piece.data(), piece.size())) > 0) text.append(piece.data(), static_cast<std::size_t>(n));
  if (text.size() >= most) text.resize(text.rfind('\n') + 1);  // the last line may be cut
  return text;
}

std::string link_of(int fd) {
  std::array<char, PATH_MAX> name;
  const ssize_t length = ::readlinkat(own_proc(), ("self/fd/" + std::to_string(fd)).c_str(), name.data(), name.size());
  if (length <= 0 || static_cast<std::size_t>(length) == name.size()) return {};
  return {name.data(), static_cast<std::size_t>(length)};
}

}  // namespace mrlease::sys
