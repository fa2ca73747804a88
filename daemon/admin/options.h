// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>

namespace mrlease::admin {

struct Options {
  std::string socket = "/run/mrlease/admin.sock";  // "" or "none": no socket
  std::string listen;                              // HOST:PORT; "": no TCP. Needs the three files
  std::string tls_cert, tls_key, tls_client_ca;
  std::size_t events_max = 16384;                  // that are kept for who watches
  std::string metrics_listen;                      // HOST:PORT; "": off
  bool healthy = true;                             // false: a guard that answers without recalling (--break-something)
};

}  // namespace mrlease::admin
