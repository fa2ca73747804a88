// SPDX-License-Identifier: Apache-2.0
// Nodes by key, where there may be a million.
#pragma once

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "daemon/core/prefetch.h"

namespace mrlease::core {

// A hash table that grows by one bucket at a time (linear hashing), so that no step of the arbiter pays for looking at all nodes
// again. A node is found by its bucket and itself, two waits for memory, and stays where it is. Node: key(), hash(key) that is well
// spread in its low bits, and `Node* chain`, which is the table's. Not thread-safe.
template <typename Key, typename Node>
class ChainedTable {
 public:
  ChainedTable() = default;
  ~ChainedTable() {
    for (Node* node : buckets_)
      while (node != nullptr) delete std::exchange(node, node->chain);
  }
  ChainedTable(const ChainedTable&) = delete;
  ChainedTable& operator=(const ChainedTable&) = delete;

  std::size_t size() const { return size_; }

  Node* find(const Key& key) const {
    Node* node = buckets_[bucket(Node::hash(key))];
    prefetch(node, sizeof *node);
    while (node != nullptr && node->key() != key) node = node->chain;
    return node;
  }
  // REQUIRES: no other has its key.
  Node& insert(std::unique_ptr<Node> node) {
    for (++size_; buckets_.size() < 2 * size_;) add_bucket();  // who is looked for and not there seldom finds a stranger
    Node*& first = buckets_[bucket(Node::hash(node->key()))];
    node->chain = first;
    first = node.release();
    return *first;
  }
  // REQUIRES: it is in the table.
  void erase(Node& node) {
    Node** at = &buckets_[bucket(Node::hash(node.key()))];
    while (*at != &node) at = &(*at)->chain;
    *at = node.chain;
    delete &node;
    --size_;
  }

 private:
  // The low bits, as many as there are buckets for.
  std::size_t bucket(std::size_t hash) const {
    const std::size_t wide = hash & (2 * level_ - 1);
    return wide < buckets_.size() ? wide : hash & (level_ - 1);
  }
  // It takes what is its own from the bucket that stood for it.
  void add_bucket() {
    const std::size_t fresh = buckets_.size();
    if (fresh == 2 * level_) level_ *= 2;
    buckets_.push_back(nullptr);
    for (Node** at = &buckets_[fresh - level_]; *at != nullptr;) {
      Node* const node = *at;
      if (bucket(Node::hash(node->key())) != fresh) {
        at = &node->chain;
        continue;
      }
      *at = node->chain;
      node->chain = buckets_[fresh];
      buckets_[fresh] = node;
    }
  }

  std::vector<Node*> buckets_ = std::vector<Node*>(1);
  std::size_t level_ = 1;  // the largest power of two not above the number of buckets
  std::size_t size_ = 0;
};

}  // namespace mrlease::core
