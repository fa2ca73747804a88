// SPDX-License-Identifier: Apache-2.0
// A path as the address of a socket, and a connection to it.
#pragma once

#include <sys/un.h>

#include <optional>
#include <string>

#include "daemon/sys/fd.h"

namespace mrlease::sys {

// Nothing: the path is longer than the 107 bytes of sun_path (sys/un.h), its end not counted.
std::optional<sockaddr_un> unix_address(const std::string& path);
// type: SOCK_STREAM or SOCK_SEQPACKET. Nothing, and errno: ECONNREFUSED where a path is left that nobody listens at.
Fd connect_to(const sockaddr_un& address, int type);

}  // namespace mrlease::sys
