// SPDX-License-Identifier: Apache-2.0
// Which leases of one file touch an extent.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "daemon/core/types.h"

namespace mrlease::core {

// A treap ordered by (begin, id) in which every node knows the largest end below it: insert and erase O(log n), a query
// O(log n + found) even when one lease covers the whole file. 40 bytes a lease, in one block. Priorities are a hash of
// the id, so that the same history gives the same tree. Not thread-safe.
class IntervalIndex {
 public:
  // REQUIRES: (extent.begin, id) is not in the index; !extent.empty().
  void insert(const Extent& extent, LeaseId id);
  // False when it was not there.
  bool erase(const Extent& extent, LeaseId id);
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  // Calls visit(id) for each that overlaps, by rising begin, until it returns false. visit must not change the index.
  template <typename Visit>
  void visit(const Extent& extent, Visit&& visit) const {
    if (!extent.empty()) walk(root_, extent, visit);
  }

 private:
  using Ref = std::uint32_t;
  static constexpr Ref kNil = 0xffffffff;
  struct Node {
    std::uint64_t begin, end, max_end;
    LeaseId id;
    Ref left, right;
  };

  template <typename Visit>
  bool walk(Ref ref, const Extent& extent, Visit& visit) const {
    if (ref == kNil) return true;
    const Node& n = nodes_[ref];
    if (n.max_end <= extent.begin) return true;
    if (!walk(n.left, extent, visit)) return false;
    if (n.begin >= extent.end) return true;
    if (n.end > extent.begin && !visit(n.id)) return false;
    return walk(n.right, extent, visit);
  }

  static std::uint64_t priority(LeaseId id);
  bool before(Ref ref, std::uint64_t begin, LeaseId id) const;
  void pull(Ref ref);
  void split(Ref ref, std::uint64_t begin, LeaseId id, Ref* low, Ref* high);
  Ref merge(Ref low, Ref high);
  Ref insert_at(Ref ref, Ref node);
  Ref erase_at(Ref ref, std::uint64_t begin, LeaseId id, bool* found);
  Ref allocate(const Extent& extent, LeaseId id);

  std::vector<Node> nodes_;
  Ref root_ = kNil;
  Ref free_ = kNil;  // chained by left
  std::size_t size_ = 0;
};

}  // namespace mrlease::core
