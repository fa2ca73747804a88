// SPDX-License-Identifier: Apache-2.0
#include "samples.h"

#include <algorithm>
#include <cstdio>

namespace mrlease::bench {

double percentile(const std::vector<double>& values, double p) {
  if (values.empty()) return 0;
  std::vector<double> sorted = values;
  const auto nth = sorted.begin() + static_cast<std::ptrdiff_t>(p * static_cast<double>(sorted.size() - 1) + 0.5);
  std::nth_element(sorted.begin(), nth, sorted.end());
  return *nth;
}

std::string to_json(const std::vector<Series>& all, const std::string& unit) {
  std::string out = "{\"unit\": \"" + unit + "\"";
  for (const Series& s : all) {
    char line[160];
    std::snprintf(line, sizeof line, ",\n \"%s\": {\"count\": %zu, \"p50\": %.6g, \"p99\": %.6g}", s.name.c_str(),
                  s.values.size(), percentile(s.values, 0.5), percentile(s.values, 0.99));
    out += line;
  }
  return out + "}\n";
}

bool write_file(const std::string& path, const std::string& text) {
  FILE* f = std::fopen(path.c_str(), "w");
  if (f == nullptr) return false;
  const bool written = std::fwrite(text.data(), 1, text.size(), f) == text.size();
  return std::fclose(f) == 0 && written;
}

}  // namespace mrlease::bench
