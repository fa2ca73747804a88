// SPDX-License-Identifier: Apache-2.0
// What there is to lose: the pages of files, of stores and of bounce memory. A page holds the number of the last write by
// RDMA that is in it, no bytes.
#pragma once

#include <map>
#include <vector>

#include "daemon/core/types.h"
#include "tests/sim/dice.h"

namespace mrlease::sim {

inline constexpr u64 kPage = 4096;

struct File {
  struct Page {
    u64 stamp = 0;
    u64 durable = 0;
    bool dirty = false;  // DMA into a pinned page does not make it so
  };
  core::FileKey key;
  u64 size = 0;
  std::vector<Page> pages;
  u64 unwatched = 0;  // how often it was shortened by what no lease was in the way of
  bool holds(u64 page) const { return page * kPage < size; }
  void put(u64 page, u64 stamp, bool dirties) {
    if (!holds(page)) return;
    pages[page].stamp = std::max(pages[page].stamp, stamp);
    pages[page].dirty |= dirties;
  }
  void sync() {
    for (Page& p : pages)
      if (p.dirty) p.durable = p.stamp, p.dirty = false;
  }
  // [first, last) are gone.
  void remove(u64 first, u64 last) {
    for (u64 p = first; p < last && p < pages.size(); ++p) pages[p] = {};
  }
  // What is behind [first, last) moves there.
  void collapse(u64 first, u64 last) {
    for (u64 p = first; p < pages.size(); ++p) pages[p] = p + last - first < pages.size() ? pages[p + last - first] : Page{};
    size -= (last - first) * kPage;
  }
};

// Memory that client and daemon share: page of the FILE -> what was written there and is not in the file.
struct Pages {
  std::map<u64, u64> written;
  u64 end = core::kToEnd;  // bounce: what lies from here on is cut off (bytes of the file)
};

}  // namespace mrlease::sim
