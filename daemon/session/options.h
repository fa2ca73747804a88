// SPDX-License-Identifier: Apache-2.0
// What the administrator decides, as the session layer needs it.
#pragma once

#include <cstdint>
#include <string>

#include "daemon/core/types.h"

namespace mrlease::session {

struct Options {
  core::Policy policy;
  std::string userfaultfd = "always";  // always, never, or the name of a group whose members may use it
  std::uint32_t leases_max = 4096;     // of one user
  std::uint32_t sessions_max = 256;    // of one user
  std::uint64_t bounce_bytes_max = 0;  // bounce pages of one user, bytes; 0: half of the machine's memory
  bool break_something = false;        // the planted control: answer guards without recalling
  int settle_rounds = 8;               // of a bounce freeze
  int settle_ms = 5;
};

}  // namespace mrlease::session
