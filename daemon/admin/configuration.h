// SPDX-License-Identifier: Apache-2.0
// The daemon's options, as GetConfig and Reload need them; whoever has read them fills this in.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "daemon/session/options.h"

namespace mrlease::admin {

struct OptionFacts {
  std::string name;
  std::vector<std::string> values, defaults;
  std::string source;  // default, file, command line
  bool reloadable = false;
  std::string description;
};

struct Reloaded {
  std::string error;  // sentences with file and line, one a line; then nothing was changed
  std::vector<std::string> changed, needs_restart;
  std::optional<session::Options> would_be;  // tried out: what the broker would have
};

// Called in the loop's thread.
struct Configuration {
  std::function<std::string()> file;  // that was read; "": none
  std::function<std::vector<OptionFacts>()> options;
  std::function<void(std::function<void(const Reloaded&)>)> reload;   // the answer comes in the loop's thread, later
  std::function<void(std::function<void(const Reloaded&)>)> try_out;  // the same, and nothing is changed
};

}  // namespace mrlease::admin
