// SPDX-License-Identifier: Apache-2.0
// From the store back to the file: what was written is merged in rounds while device and CPU go on; then an empty,
// watched mapping (the gate) makes them wait for the merge of the last few pages.
#include <sys/mman.h>

#include <algorithm>

#include "client-lib/src/uffd/exchange.h"

namespace mrlease::client {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::uint64_t kSmallDelta = 16;  // pages: not worth another round
constexpr int kRounds = 8, kRoundsMax = 64;

std::uint64_t us_since(Clock::time_point start) {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - start).count());
}

}  // namespace

Outcome Exchange::thaw(std::uint64_t store, Deadline until) {
  for (const Segment& s : segments_.of_store(store)) {
    Outcome thawed = thaw_segment(s, until);
    if (!thawed.ok()) return thawed;
  }
  drop_unused_stores();
  return {};
}

Outcome Exchange::thaw_all(Deadline until) {
  for (const Segment& s : segments_.in(0, segments_.pages())) {
    if (s.kind != Segment::Kind::Store) continue;
    Outcome thawed = thaw_segment(s, until);
    if (!thawed.ok()) return thawed;
  }
  drop_unused_stores();
  adopt_orphans();
  return {};
}

Outcome Exchange::thaw_segment(const Segment& s, Deadline until) {
  Pace pace;
  Outcome outcome = rounds(s, until, &pace);
  if (!outcome.ok()) return outcome;
  // Made before the gate is shut: mmap(2) may wait for a guard on the file, and under mlockall it reads the pages.
  char* incoming = nullptr;
  outcome = map_file(layout_, s.begin, s.end, layout_.protection, false, &incoming);
  if (!outcome.ok()) return outcome;
  std::uint64_t stall_us = 0;
  outcome = gate(s, incoming, &stall_us);
  stats_.stall_us_max = std::max(stats_.stall_us_max, stall_us);
  if (!outcome.ok()) {
    ::munmap(incoming, s.pages() * kPage);
    return outcome;
  }
  segments_.set(s.begin, s.end, Segment::Kind::File);
  forget_pages(s);
  return {};
}

// Merges while the device writes. Stops when what is left is small, or does not shrink; but goes on while the last
// merge would stall the peer for more than half of its budget, as long as the recall's time allows. Then the application
// is asked to be quiet, so that nobody is there to be stalled; one that cannot is stalled rather than fenced.
Outcome Exchange::rounds(const Segment& s, Deadline until, Pace* pace) {
  const auto half = (until - Clock::now()) / 2;
  auto enough = Clock::now() + half;
  std::uint64_t before = ~0ull;
  for (int round = 1; round <= kRoundsMax; round++) {
    Pagemap::Pages scanned;
    Outcome outcome = pagemap_.scan(at(s.begin), s.pages() * kPage, true, &scanned);
    if (!outcome.ok()) return outcome;
    Delta delta{std::move(scanned.written), scanned.count_written};
    take_touched(s, &delta);
    stats_.rounds++;
    if (delta.count == 0) return {};
    const auto start = Clock::now();
    const std::uint64_t daemon = daemons_();
    outcome = merge(s, delta);
    if (!outcome.ok()) {
      give_touched(s, delta);
      return outcome;
    }
    // It has waited for another daemon. How long says nothing of the last merge, and what was written meanwhile is left. And who
    // waits for the thaw now has begun to when it took over: it asks for it again.
    if (daemons_() != daemon) {
      before = ~0ull;
      enough = took_over_() + half;
      continue;
    }
    pace->us += us_since(start);
    pace->pages += delta.count;
    const std::uint64_t predicted_us = pace->us * delta.count / pace->pages;
    const bool late = Clock::now() >= enough;
    const bool done = late || delta.count <= kSmallDelta || delta.count >= before || round >= kRounds;
    if (done && predicted_us <= budget_us_ / 2) return {};
    if (late) break;
    before = delta.count;
  }
  const auto left = enough - Clock::now() + half;
  if (ask_quiet_) ask_quiet_(Clock::now() + left / 2);
  return {};
}

Outcome Exchange::gate(const Segment& s, char* incoming, std::uint64_t* stall_us) {
  const std::uint64_t length = s.pages() * kPage;
  void* aside = ::mmap(nullptr, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (aside == MAP_FAILED) return from_errno("mmap");
  const auto start = Clock::now();
  Outcome outcome;
  Delta delta;
  set_gate(&s);
  if (::mremap(at(s.begin), length, length, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, aside) != aside) {
    outcome = from_errno("mremap of the region aside");
  }
  if (outcome.ok()) {
    outcome = last_delta(s, static_cast<const char*>(aside), &delta);
    if (outcome.ok() && delta.count > 0) outcome = merge(s, delta);
    if (outcome.ok() && ::mremap(incoming, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, at(s.begin)) != at(s.begin)) {
      outcome = from_errno("mremap of the file over the region");
    }
    // The gate itself is a mapping of the store: opened again, it has every page that was there.
    if (!outcome.ok()) give_touched(s, delta);
  }
  set_gate(nullptr);
  resolver_.userfaultfd().wake(address(at(s.begin)), length);
  *stall_us = us_since(start);
  ::munmap(aside, length);
  return outcome;
}

// Written pages, and those that were in the page table once and are not any more: reclaim does not say whether they
// were written. If the scan fails, everything that was ever there.
Outcome Exchange::last_delta(const Segment& s, const char* moved, Delta* delta) {
  Pagemap::Pages scanned;
  Outcome outcome = pagemap_.scan(moved, s.pages() * kPage, false, &scanned);
  delta->pages = std::move(scanned.written);
  {
    auto lock = resolver_.lock();
    watch_->installed.for_each(s.begin, s.end, [&](std::uint64_t page) {
      if (!outcome.ok() || !scanned.present.has(page - s.begin)) delta->pages.add(page - s.begin);
    });
  }
  delta->count = delta->pages.count();
  take_touched(s, delta);
  return outcome;
}

Outcome Exchange::merge(const Segment& s, const Delta& delta) {
  if ((layout_.protection & PROT_WRITE) == 0) return {};  // nobody could write; reclaim alone made it look so
  Store& store = store_of(s);
  Outcome outcome = merge_(store, ranges_of(delta.pages, layout_.file_offset + s.begin * kPage, store));
  if (outcome.ok()) stats_.pages_merged += delta.count;
  merged(store, outcome);
  return outcome;
}

void Exchange::take_touched(const Segment& s, Delta* delta) {
  auto lock = resolver_.lock();
  watch_->touched.for_each(s.begin, s.end, [&](std::uint64_t page) { delta->count += delta->pages.add(page - s.begin); });
  watch_->touched.remove(s.begin, s.end);
}

void Exchange::give_touched(const Segment& s, const Delta& delta) {
  auto lock = resolver_.lock();
  delta.pages.for_each(0, delta.pages.size(), [&](std::uint64_t page) { watch_->touched.add(s.begin + page); });
}

}  // namespace mrlease::client
