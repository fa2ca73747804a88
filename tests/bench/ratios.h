// SPDX-License-Identifier: Apache-2.0
// Two ways of doing the same thing, measured in pairs: the ratio of one to the other, and how sure it is.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace mrlease::bench {

struct Interval {
  double low = 0, middle = 0, high = 0;
  bool holds_one() const { return low <= 1 && high >= 1; }
  bool within(double lowest, double highest) const { return low >= lowest && high <= highest; }
};

// The median of the values, and its 95 % interval by bootstrap: one pair that was disturbed moves neither.
Interval of_median(const std::vector<double>& values);

struct Pairs {
  std::vector<double> ours, theirs;
  Interval ratio() const;  // of ours to theirs, pair by pair
};

// `count` pairs after some that are not counted; which of the two comes first is drawn for each pair.
Pairs measure_pairs(int count, const std::function<double()>& ours, const std::function<double()>& theirs);

// A row of the table, of at most 80 columns: what, the two medians, the ratio, its interval, and a verdict.
inline constexpr const char* kRowHead = "                              ours    theirs   ratio  95 % interval\n";
std::string row(const std::string& what, const Pairs& pairs, const char* verdict);

// PASS or FAIL; and the exit status that all of them come to.
const char* judge(double value, double most);
int verdicts();

double microseconds(const std::function<void()>& work);

}  // namespace mrlease::bench
