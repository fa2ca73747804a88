// SPDX-License-Identifier: Apache-2.0
// Wait until no remote writer is in the middle of a page that was just copied or overwritten.
#pragma once

#include <chrono>
#include <functional>

#include "daemon/store/writer_progress.h"

namespace mrlease::store {

// What is to settle: pages of the first `count` of the memfd. touched: those that were just handled; all: others were handled
// a moment ago as well, nobody knows which.
struct Settling {
  int memfd = -1;
  std::uint64_t count = 0;
  Pages touched;
  bool all = false;
};
// Looks at pages (nullptr: all), handles those that have changed since they were handled, and returns those of them that
// somebody may have been in the middle of. hot: they change from one of the shortest pauses to the next.
using Look = std::function<Pages(const Pages* only, bool hot)>;

// While no page changes, a page must stand still for so many pauses. Writers were held up in the middle of a page for
// 160 ms in the rig, while a daemon was started on a busy machine; 15 ms otherwise.
inline constexpr int kStillPauses = 4;

// Looks again after a pause, until every page has stood still: not changed while others have, or for kStillPauses where
// none has. While pages change, each pause is half of the one before; from 1 ms on it ends as soon as another page has
// changed: a page that is written all the time is caught between two writes. Pages are handled again for `patience`,
// and for 24 rounds, within twice that time. Returns how many never stood still.
std::size_t settle(Settling what, std::chrono::milliseconds patience, std::chrono::milliseconds pause, const Look& look);

}  // namespace mrlease::store
