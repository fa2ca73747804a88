// SPDX-License-Identifier: Apache-2.0
// vm_judge NAME < PAIRS: the table's row of pairs that were measured elsewhere, a line "OURS THEIRS" each.
// Exit 1: the interval of the ratio does not hold 1, or leaves [0.95, 1.05]; 2: there are fewer than 15 pairs.
#include <cstdio>
#include <iostream>

#include "tests/bench/ratios.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: vm_judge NAME < PAIRS\n", stderr);
    return 2;
  }
  mrlease::bench::Pairs pairs;
  for (double ours = 0, theirs = 0; std::cin >> ours >> theirs;) {
    pairs.ours.push_back(ours);
    pairs.theirs.push_back(theirs);
  }
  if (pairs.ours.size() < 15) {
    std::printf("%s: %zu pairs, too few to judge\n", argv[1], pairs.ours.size());
    return 2;
  }
  const mrlease::bench::Interval ratio = pairs.ratio();
  const bool good = ratio.holds_one() && ratio.within(0.95, 1.05);
  std::fputs(mrlease::bench::row(argv[1], pairs, good ? "held" : "NOT HELD").c_str(), stdout);
  return good ? 0 : 1;
}
