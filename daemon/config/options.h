// SPDX-License-Identifier: Apache-2.0
// What the administrator decides. Every field has a row in table.cc, which says all there is to know about it.
#pragma once

#include <string>
#include <vector>

#include "daemon/session/options.h"

namespace mrlease::config {

struct Options {
  session::Options session;
  std::string socket = "/run/mrlease/mrleased.sock";
  std::vector<std::string> roots;
  std::string log_level = "info";
  bool foreground = false;
};

// What the rest of the daemon takes: 0, where it means "choose", is replaced by what was chosen on this machine.
session::Options for_session(const Options& options);

}  // namespace mrlease::config
