// SPDX-License-Identifier: Apache-2.0
// A path as the address of a socket, and whether somebody listens there.
#pragma once

#include <sys/un.h>

#include <string>

namespace mrlease::loop {

// Throws std::system_error: ENAMETOOLONG.
sockaddr_un unix_address(const std::string& path);
// type: SOCK_STREAM or SOCK_SEQPACKET. A path that nothing is bound to, or whose owner has died, has no listener.
bool somebody_listens(const sockaddr_un& address, int type);

}  // namespace mrlease::loop
