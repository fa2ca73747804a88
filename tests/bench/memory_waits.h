// SPDX-License-Identifier: Apache-2.0
// What it takes to wait for memory that is in no cache: the least that looking at something new can take.
#pragma once

#include <cstddef>
#include <vector>

namespace mrlease::bench {

class MemoryWaits {
 public:
  explicit MemoryWaits(std::size_t bytes);  // of the memory that is looked at in no order
  void wait(int times);  // each for what the one before has found

 private:
  struct alignas(64) Line {  // of a cache
    std::size_t next;
  };
  std::vector<Line> lines_;  // one ring
  std::size_t at_ = 0;
};

}  // namespace mrlease::bench
