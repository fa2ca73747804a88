// SPDX-License-Identifier: Apache-2.0
// The daemon's command line and configuration file, read and checked once.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "daemon/admin/configuration.h"
#include "daemon/admin/options.h"
#include "daemon/session/options.h"

namespace mrlease::loop {

struct Options {
  session::Options session;
  admin::Options admin;
  std::string socket = "/run/mrlease/mrleased.sock";
  std::vector<std::string> roots;
  std::string log_level = "info";
  bool foreground = false;
  bool check_only = false;  // --check-config
  std::string config_file;  // that was read; "": none
  std::vector<admin::OptionFacts> listed;  // every option, for GetConfig
};

// nothing: the process is to exit with *status (a mistake, told on stderr, or --help).
std::optional<Options> parse(int argc, char** argv, int* status);

// Deadlines must nest, or the wrong timer fires first. Empty: they do; else what is wrong, with the numbers.
std::string nesting_error(const core::Policy& policy, core::Time lease_break_time_ms);

}  // namespace mrlease::loop
