// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/settle.h"

#include <algorithm>
#include <iterator>
#include <thread>

namespace mrlease::store {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kShortest{1};
constexpr int kRoundsLeast = 24;  // where each takes long, many pages on a busy machine, for twice the patience at most

struct Standing {  // pages that were handled at the same time, and have stood still since
  bool all = false;
  Pages pages;
  Clock::time_point since;
};

Pages merged(const Pages& a, const Pages& b) {
  Pages both;
  std::set_union(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(both));
  return both;
}

Pages without(const Pages& a, const Pages& b) {
  Pages rest;
  std::set_difference(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(rest));
  return rest;
}

// Have the writers got on? The shortest pause is not slept through: on a busy machine the shortest sleep is a long one, in
// which a page of a small file is written again.
bool wait(const WriterProgress& writers, milliseconds pause) {
  if (pause > kShortest) {
    std::this_thread::sleep_for(pause);
    return writers.moved();
  }
  for (const auto until = Clock::now() + pause;;) {
    if (writers.moved()) return true;
    if (Clock::now() >= until) return false;
  }
}

}  // namespace

std::size_t settle(Settling what, milliseconds patience, milliseconds longest, const Look& look) {
  std::size_t never = 0;
  const auto until = Clock::now() + patience, latest = until + patience;
  WriterProgress writers(what.memfd);
  std::vector<Standing> standing;
  if (what.all) standing.push_back({true, {}, Clock::now()});
  Pages moving = std::move(what.touched);
  int rounds = 0;
  for (milliseconds pause = longest; !moving.empty() || !standing.empty(); rounds++) {
    if (!moving.empty()) standing.push_back({false, moving, Clock::now()});
    writers.mark(what.count, standing.back().pages);
    const bool moved = wait(writers, pause);  // before the pages are looked at: what was in the middle of one has ended it
    moving.clear();
    for (Standing& s : standing) {
      const Pages changed = look(s.all ? nullptr : &s.pages, pause == kShortest);
      moving = merged(moving, changed);
      s.pages = without(s.pages, changed);
    }
    std::erase_if(standing, [&, now = Clock::now()](const Standing& s) {
      return moved || now - s.since >= kStillPauses * longest || (!s.all && s.pages.empty());
    });
    if (const auto now = Clock::now(); !moving.empty() && now >= (rounds < kRoundsLeast ? latest : until)) {
      never += moving.size();
      moving.clear();
    }
    pause = moving.empty() ? longest : std::max(pause / 2, kShortest);
  }
  return never;
}

}  // namespace mrlease::store
