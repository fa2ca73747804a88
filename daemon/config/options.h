// SPDX-License-Identifier: Apache-2.0
// What the administrator decides. Every field has a row in table.cc, which says all there is to know about it.
#pragma once

#include <string>
#include <vector>

#include "daemon/admin/options.h"
#include "daemon/session/options.h"

namespace mrlease::config {

struct Options {
  session::Options session;
  admin::Options admin{.socket = "auto"};
  std::string socket = "/run/mrlease/mrleased.sock";
  std::vector<std::string> roots;
  std::string log_level = "info";
  bool foreground = false;
};

// What the rest of the daemon takes: 0 and "auto", where they mean "choose", are replaced by what was chosen here.
session::Options for_session(const Options& options);
admin::Options for_admin(const Options& options);

}  // namespace mrlease::config
