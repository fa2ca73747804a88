// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/ratios.h"

#include <chrono>
#include <cstdio>
#include <random>

#include "tests/bench/samples.h"

namespace mrlease::bench {

Interval of_median(const std::vector<double>& values) {
  if (values.empty()) return {};
  std::mt19937 random(1);  // the same numbers give the same interval
  std::uniform_int_distribution<std::size_t> one(0, values.size() - 1);
  std::vector<double> medians, sample(values.size());
  for (int i = 0; i < 4000; i++) {
    for (double& drawn : sample) drawn = values[one(random)];
    medians.push_back(percentile(sample, 0.5));
  }
  return {percentile(medians, 0.025), percentile(values, 0.5), percentile(medians, 0.975)};
}

Interval Pairs::ratio() const {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < ours.size(); i++) ratios.push_back(ours[i] / theirs[i]);
  return of_median(ratios);
}

Pairs measure_pairs(int count, const std::function<double()>& ours, const std::function<double()>& theirs) {
  std::mt19937 random(2);
  Pairs pairs;
  for (int pair = -3; pair < count; pair++) {
    const bool ours_first = (random() & 1) != 0;
    double mine = 0;
    if (ours_first) mine = ours();
    const double other = theirs();
    if (!ours_first) mine = ours();
    if (pair < 0) continue;
    pairs.ours.push_back(mine);
    pairs.theirs.push_back(other);
  }
  return pairs;
}

std::string row(const std::string& what, const Pairs& pairs, const char* verdict) {
  const Interval ratio = pairs.ratio();
  char line[128];
  std::snprintf(line, sizeof line, "%-24s %9.2f %9.2f  %6.3f  [%.3f, %.3f]  %s\n", what.c_str(), percentile(pairs.ours, 0.5),
                percentile(pairs.theirs, 0.5), ratio.middle, ratio.low, ratio.high, verdict);
  return line;
}

namespace {
bool failed = false;
}

const char* judge(double value, double most) {
  if (value > most) failed = true;
  return value > most ? "FAIL" : "PASS";
}

int verdicts() { return failed ? 1 : 0; }

double microseconds(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace mrlease::bench
