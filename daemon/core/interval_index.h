// SPDX-License-Identifier: Apache-2.0
// Which leases of one file touch an extent.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "daemon/core/prefetch.h"
#include "daemon/core/types.h"

namespace mrlease::core {

struct LeaseEntry;

// A B-tree ordered by (begin, id) in which every node knows the largest end below it: insert and erase O(log n), a query
// O(log n + found) even when one lease covers the whole file. Nodes of a few hundred bytes, since what a walk costs among a million
// leases is the memory that it has to wait for; 32 bytes a lease, with the nodes' spare room about 42. Not thread-safe.
class IntervalIndex {
 public:
  IntervalIndex() = default;
  ~IntervalIndex() { destroy(root_, height_); }
  IntervalIndex(const IntervalIndex&) = delete;
  IntervalIndex& operator=(const IntervalIndex&) = delete;

  // `lease` is handed to who visits. REQUIRES: (extent.begin, id) is not in the index; !extent.empty().
  void insert(const Extent& extent, LeaseId id, LeaseEntry* lease = nullptr);
  // False when it was not there.
  bool erase(const Extent& extent, LeaseId id);
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  // Calls visit(id, lease) for each that overlaps, by rising begin, until it returns false. visit must not change the index.
  template <typename Visit>
  void visit(const Extent& extent, Visit&& visit) const {
    if (!extent.empty()) walk(root_, height_, extent, visit);
  }

 private:
  struct Entry;
  using Node = std::vector<Entry>;
  // Of a leaf: a lease. Above: a node, by the least key and the largest end in it.
  struct Entry {
    std::uint64_t begin;
    LeaseId id;
    std::uint64_t end;
    union {
      LeaseEntry* lease;
      Node* below;
    };
  };
  static constexpr std::size_t kMost = 16;  // entries of a node
  static constexpr std::size_t kLeaseBytes = 152;  // of a LeaseEntry, about: for who visits it next

  template <typename Visit>
  bool walk(const Node& node, unsigned height, const Extent& extent, Visit& visit) const {
    prefetch(node.data(), node.size() * sizeof(Entry));
    for (const Entry& e : node) {
      if (e.begin >= extent.end || e.end <= extent.begin) continue;
      height > 0 ? prefetch(e.below, sizeof *e.below) : prefetch(e.lease, kLeaseBytes);
    }
    for (const Entry& e : node) {
      if (e.begin >= extent.end) return true;
      if (e.end <= extent.begin) continue;
      if (height > 0 ? !walk(*e.below, height - 1, extent, visit) : !visit(e.id, e.lease)) return false;
    }
    return true;
  }

  static bool precedes(const Entry& a, const Entry& b);
  static Node::iterator child_for(Node& node, const Entry& key);
  static Entry describe(Node* node);
  static void add(Node& node, Node::iterator place, const Entry& entry);
  static Node* split(Node& node, bool at_end);
  static Node* insert_below(Node& node, unsigned height, const Entry& entry);
  static bool erase_below(Node& node, unsigned height, Entry* entry);
  static void tidy(Node& node, Node::iterator child, const Entry& erased);
  static void destroy(Node& node, unsigned height);

  Node root_;
  unsigned height_ = 0;  // of the root above the leaves
  std::size_t size_ = 0;
};

}  // namespace mrlease::core
