// SPDX-License-Identifier: Apache-2.0
#include "daemon/core/interval_index.h"

#include <algorithm>

namespace mrlease::core {

// The finalizer of splitmix64: ids are handed out in order, priorities must not be.
std::uint64_t IntervalIndex::priority(LeaseId id) {
  std::uint64_t x = id + 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

bool IntervalIndex::before(Ref ref, std::uint64_t begin, LeaseId id) const {
  const Node& n = nodes_[ref];
  return n.begin != begin ? n.begin < begin : n.id < id;
}

void IntervalIndex::pull(Ref ref) {
  Node& n = nodes_[ref];
  n.max_end = n.end;
  if (n.left != kNil) n.max_end = std::max(n.max_end, nodes_[n.left].max_end);
  if (n.right != kNil) n.max_end = std::max(n.max_end, nodes_[n.right].max_end);
}

// Everything before (begin, id) goes to low, the rest to high.
void IntervalIndex::split(Ref ref, std::uint64_t begin, LeaseId id, Ref* low, Ref* high) {
  if (ref == kNil) {
    *low = *high = kNil;
    return;
  }
  Ref half = kNil;
  if (before(ref, begin, id)) {
    split(nodes_[ref].right, begin, id, &half, high);
    nodes_[ref].right = half;
    *low = ref;
  } else {
    split(nodes_[ref].left, begin, id, low, &half);
    nodes_[ref].left = half;
    *high = ref;
  }
  pull(ref);
}

IntervalIndex::Ref IntervalIndex::merge(Ref low, Ref high) {
  if (low == kNil) return high;
  if (high == kNil) return low;
  if (priority(nodes_[low].id) > priority(nodes_[high].id)) {
    const Ref right = merge(nodes_[low].right, high);
    nodes_[low].right = right;
    pull(low);
    return low;
  }
  const Ref left = merge(low, nodes_[high].left);
  nodes_[high].left = left;
  pull(high);
  return high;
}

IntervalIndex::Ref IntervalIndex::allocate(const Extent& extent, LeaseId id) {
  const Node node{extent.begin, extent.end, extent.end, id, kNil, kNil};
  if (free_ == kNil) {
    nodes_.push_back(node);
    return static_cast<Ref>(nodes_.size() - 1);
  }
  const Ref ref = free_;
  free_ = nodes_[ref].left;
  nodes_[ref] = node;
  return ref;
}

IntervalIndex::Ref IntervalIndex::insert_at(Ref ref, Ref node) {
  if (ref == kNil) return node;
  Node& fresh = nodes_[node];
  if (priority(fresh.id) > priority(nodes_[ref].id)) {
    split(ref, fresh.begin, fresh.id, &fresh.left, &fresh.right);
    pull(node);
    return node;
  }
  if (before(ref, fresh.begin, fresh.id)) {
    nodes_[ref].right = insert_at(nodes_[ref].right, node);
  } else {
    nodes_[ref].left = insert_at(nodes_[ref].left, node);
  }
  pull(ref);
  return ref;
}

void IntervalIndex::insert(const Extent& extent, LeaseId id) {
  const Ref node = allocate(extent, id);  // before the walk: it may move the block
  root_ = insert_at(root_, node);
  ++size_;
}

IntervalIndex::Ref IntervalIndex::erase_at(Ref ref, std::uint64_t begin, LeaseId id, bool* found) {
  if (ref == kNil) return kNil;
  Node& n = nodes_[ref];
  if (n.begin == begin && n.id == id) {
    *found = true;
    const Ref rest = merge(n.left, n.right);
    n.left = free_;
    free_ = ref;
    return rest;
  }
  if (before(ref, begin, id)) {
    n.right = erase_at(n.right, begin, id, found);
  } else {
    n.left = erase_at(n.left, begin, id, found);
  }
  pull(ref);
  return ref;
}

bool IntervalIndex::erase(const Extent& extent, LeaseId id) {
  bool found = false;
  root_ = erase_at(root_, extent.begin, id, &found);
  if (found) --size_;
  return found;
}

}  // namespace mrlease::core
