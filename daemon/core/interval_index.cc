// SPDX-License-Identifier: Apache-2.0
#include "daemon/core/interval_index.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace mrlease::core {

bool IntervalIndex::precedes(const Entry& a, const Entry& b) { return a.begin != b.begin ? a.begin < b.begin : a.id < b.id; }

// The last whose keys begin at or before it; the first for what is before all.
IntervalIndex::Node::iterator IntervalIndex::child_for(Node& node, const Entry& key) {
  prefetch(node.data(), node.size() * sizeof(Entry));
  const auto next = std::upper_bound(node.begin(), node.end(), key, precedes);
  return next == node.begin() ? next : next - 1;
}

IntervalIndex::Entry IntervalIndex::describe(Node* node) {
  Entry entry = node->front();
  for (const Entry& e : *node) entry.end = std::max(entry.end, e.end);
  entry.below = node;
  return entry;
}

// By a quarter: doubling would leave half of the memory of a million leases empty.
void IntervalIndex::add(Node& node, Node::iterator place, const Entry& entry) {
  const auto at = place - node.begin();
  if (node.size() == node.capacity()) node.reserve(node.size() + node.size() / 4 + 1);
  node.insert(node.begin() + at, entry);
}

// Takes the upper half out, or the last one: files are leased from their begin to their end, and nodes stay full then.
IntervalIndex::Node* IntervalIndex::split(Node& node, bool at_end) {
  const auto from = node.begin() + static_cast<std::ptrdiff_t>(at_end ? node.size() - 1 : node.size() / 2);
  auto* const upper = new Node(from, node.end());
  node.erase(from, node.end());
  if (!at_end) node.shrink_to_fit();
  return upper;
}

// What has been split off the node, if it was full.
IntervalIndex::Node* IntervalIndex::insert_below(Node& node, unsigned height, const Entry& entry) {
  Entry added = entry;
  Node::iterator place;
  if (height == 0) {
    prefetch(node.data(), node.size() * sizeof(Entry));
    place = std::upper_bound(node.begin(), node.end(), entry, precedes);
  } else {
    const auto child = child_for(node, entry);
    Node* const beside = insert_below(*child->below, height - 1, entry);
    if (beside == nullptr) {
      if (precedes(entry, *child)) std::tie(child->begin, child->id) = std::tie(entry.begin, entry.id);
      child->end = std::max(child->end, entry.end);
      return nullptr;
    }
    *child = describe(child->below);
    place = child + 1;
    added = describe(beside);
  }
  const bool at_end = place == node.end();
  add(node, place, added);
  return node.size() > kMost ? split(node, at_end) : nullptr;
}

void IntervalIndex::insert(const Extent& extent, LeaseId id, LeaseEntry* lease) {
  Node* const beside = insert_below(root_, height_, {extent.begin, id, extent.end, {lease}});
  if (beside != nullptr) {
    auto* const lower = new Node(std::move(root_));
    root_ = {describe(lower), describe(beside)};
    ++height_;
  }
  ++size_;
}

// entry: by its key; gets its end.
bool IntervalIndex::erase_below(Node& node, unsigned height, Entry* entry) {
  if (height > 0) {
    const auto child = child_for(node, *entry);
    if (!erase_below(*child->below, height - 1, entry)) return false;
    tidy(node, child, *entry);
    return true;
  }
  prefetch(node.data(), node.size() * sizeof(Entry));
  const auto place = std::lower_bound(node.begin(), node.end(), *entry, precedes);
  if (place == node.end() || precedes(*entry, *place)) return false;
  entry->end = place->end;
  node.erase(place);
  return true;
}

// The least key may stay lower than it is; the largest end is right. A node of few is joined with the next where that is one, too.
void IntervalIndex::tidy(Node& node, Node::iterator child, const Entry& erased) {
  Node* const below = child->below;
  if (below->empty()) {
    delete below;
    node.erase(child);
    return;
  }
  if (child->end == erased.end) *child = describe(below);
  if (below->size() > kMost / 4 || child + 1 == node.end()) return;
  Node* const next = (child + 1)->below;
  if (below->size() + next->size() > kMost / 2) return;
  below->insert(below->end(), next->begin(), next->end());
  delete next;
  *child = describe(below);
  node.erase(child + 1);
}

bool IntervalIndex::erase(const Extent& extent, LeaseId id) {
  Entry entry{extent.begin, id, extent.end, {nullptr}};
  if (!erase_below(root_, height_, &entry)) return false;
  if (height_ > 0 && root_.size() == 1) {
    Node* const only = root_.front().below;
    root_ = std::move(*only);
    delete only;
    --height_;
  }
  --size_;
  return true;
}

void IntervalIndex::destroy(Node& node, unsigned height) {
  if (height == 0) return;
  for (const Entry& e : node) {
    destroy(*e.below, height - 1);
    delete e.below;
  }
}

}  // namespace mrlease::core
