// SPDX-License-Identifier: Apache-2.0
// What the arbiter's index is measured against: an augmented binary tree as in textbooks (each node knows the largest end below it),
// at its best: perfectly balanced, in one block of memory, and nothing can be added to it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "daemon/core/types.h"

namespace mrlease::bench {

class BareIntervals {
 public:
  explicit BareIntervals(const std::vector<core::Extent>& sorted) {  // by begin
    for (const core::Extent& extent : sorted) nodes_.push_back({extent.begin, extent.end, 0});
    augment(0, nodes_.size());
  }

  // Calls visit(which) for each that holds the byte.
  template <typename Visit>
  void stab(std::uint64_t at, Visit&& visit) const { walk(0, nodes_.size(), at, visit); }

 private:
  struct Node {
    std::uint64_t begin, end, max_end;
  };

  // The root of [low, high) is the one in the middle.
  std::uint64_t augment(std::size_t low, std::size_t high) {
    if (low == high) return 0;
    const std::size_t root = low + (high - low) / 2;
    Node& node = nodes_[root];
    return node.max_end = std::max({node.end, augment(low, root), augment(root + 1, high)});
  }
  template <typename Visit>
  void walk(std::size_t low, std::size_t high, std::uint64_t at, Visit& visit) const {
    if (low == high) return;
    const std::size_t root = low + (high - low) / 2;
    const Node& node = nodes_[root];
    if (node.max_end <= at) return;
    walk(low, root, at, visit);
    if (node.begin > at) return;
    if (node.end > at) visit(root);
    walk(root + 1, high, at, visit);
  }

  std::vector<Node> nodes_;
};

}  // namespace mrlease::bench
