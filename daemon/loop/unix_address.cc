// SPDX-License-Identifier: Apache-2.0
#include "daemon/loop/unix_address.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "daemon/sys/fd.h"

namespace mrlease::loop {

sockaddr_un unix_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    throw std::system_error(ENAMETOOLONG, std::generic_category(), "the socket's path is longer than 107 bytes: " + path);
  }
  std::memcpy(address.sun_path, path.c_str(), path.size());
  return address;
}

bool somebody_listens(const sockaddr_un& address, int type) {
  const sys::Fd fd(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  return ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

}  // namespace mrlease::loop
