// SPDX-License-Identifier: Apache-2.0
#include "memory_waits.h"

#include <numeric>
#include <random>
#include <utility>

namespace mrlease::bench {

// Sattolo's shuffle: all lines become one ring.
MemoryWaits::MemoryWaits(std::size_t bytes) : lines_(bytes / sizeof(Line)) {
  std::vector<std::size_t> order(lines_.size());
  std::iota(order.begin(), order.end(), 0);
  std::mt19937_64 random(4);
  for (std::size_t i = order.size() - 1; i > 0; i--) std::swap(order[i], order[random() % i]);
  for (std::size_t i = 0; i < order.size(); i++) lines_[order[i]].next = order[(i + 1) % order.size()];
}

void MemoryWaits::wait(int times) {
  while (times-- > 0) at_ = lines_[at_].next;
}

}  // namespace mrlease::bench
