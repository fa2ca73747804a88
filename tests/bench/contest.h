// SPDX-License-Identifier: Apache-2.0
// A foreign operation on the files of several contestants in turn, in one run.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "contestant.h"
#include "processes.h"
#include "samples.h"

namespace mrlease::bench {

struct ContestOptions {
  std::string dir = "/var/tmp", daemon, json;
  int count = 1000;
  double limit = 0;  // of the ratio that the benchmark judges; 0: only tell
};
// --dir, --daemon, --count, --json and, where the benchmark has one, --limit. Ends the program on a mistake.
ContestOptions parse_contest(int argc, char** argv, bool has_limit);

using Contestants = std::vector<std::unique_ptr<Contestant>>;

// `make` is called for several starts, with a directory that is removed afterwards. Nanoseconds, a series for each contestant.
std::vector<Series> contest(const ContestOptions& options, Foreign::Operation operation,
                            const std::function<Contestants(const std::string& dir)>& make);
// 0: there is no such series.
double p50_of(const std::vector<Series>& series, const std::string& name);

}  // namespace mrlease::bench
