// SPDX-License-Identifier: Apache-2.0
// Numbers that were measured, and how they are shown.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace mrlease::bench {

struct Series {
  std::string name;
  std::vector<double> values;
};

// p in [0, 1]; 0 when there are no values.
double percentile(const std::vector<double>& values, double p);
// {"name": {"count": .., "p50": .., "p99": ..}, ...}
std::string to_json(const std::vector<Series>& all, const std::string& unit);
// False with errno.
bool write_file(const std::string& path, const std::string& text);

}  // namespace mrlease::bench
