// SPDX-License-Identifier: Apache-2.0
#include "daemon/sys/unix_socket.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace mrlease::sys {

std::optional<sockaddr_un> unix_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return std::nullopt;
  std::memcpy(address.sun_path, path.c_str(), path.size());
  return address;
}

Fd connect_to(const sockaddr_un& address, int type) {
  Fd fd(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  if (fd && ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return fd;
  const int code = errno;
  fd.reset();
  errno = code;
  return fd;
}

}  // namespace mrlease::sys
