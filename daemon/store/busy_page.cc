// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/busy_page.h"

#include <algorithm>
#include <cstring>

#include "daemon/store/file_work.h"
#include "daemon/store/page_io.h"

namespace mrlease::store {
namespace {

constexpr int kCopies = 16;
// Each is a few small reads, 2 us. 16 pages of which each was written every 2 us were all caught with two or three rounds of
// 256; where thousands are written, a round of them takes so long that each is caught between two rounds (settle.h).
constexpr std::size_t kTriesAtRest = 256, kTriesInAll = 16384;
// A page that is not written meanwhile is found at rest by a later look; in a large file the tries would hold that up.
constexpr std::size_t kQuiet = 8;
constexpr int kLooks = 3;  // at another page, in each try
constexpr std::size_t kLine = 64;

enum class Copied { Same, Changed, Unreadable };

Copied copy_once(const PageCopy& page) {
  char now[kPage];
  if (read_zero_filled(page.memfd, now, page.bytes, page.page * kPage) != 0) return Copied::Unreadable;
  if (std::memcmp(page.copy, now, page.bytes) == 0) return Copied::Same;
  std::memcpy(page.copy, now, page.bytes);
  return Copied::Changed;
}

// A few bytes of the page are looked at: the looks are to be over before the writer comes round to the page that is copied.
bool changes(int memfd, std::uint64_t page, std::uint64_t offset) {
  char before[kLine], now[kLine];
  const std::uint64_t at = page * kPage + offset;
  if (read_zero_filled(memfd, before, kLine, at) != 0) return false;
  for (int looks = 0; looks < kLooks; looks++)
    if (read_zero_filled(memfd, now, kLine, at) == 0 && std::memcmp(before, now, kLine) != 0) return true;
  return false;
}

}  // namespace

bool copy_agreeing(const PageCopy& page) {
  for (int tries = 0; tries < kCopies; tries++) {
    const Copied copied = copy_once(page);
    if (copied != Copied::Changed) return copied == Copied::Same;
  }
  return false;
}

bool copy_at_rest(const PageCopy& page, const Pages& others) {
  // Where the writers are is not known: each try looks at another page, and at another place in it.
  const std::size_t most = others.empty() ? 0 : std::min(kTriesAtRest, kTriesInAll / others.size());
  bool changed = false;
  for (std::size_t tries = 0; tries < most && (changed || tries < kQuiet); tries++) {
    const std::uint64_t other = others[(page.page + tries) % others.size()];
    if (other == page.page) continue;
    const Copied copied = copy_once(page);
    if (copied == Copied::Unreadable) return false;
    changed = changed || copied == Copied::Changed;
    if (changes(page.memfd, other, tries * kLine % kPage) && copy_once(page) == Copied::Same) return true;
  }
  copy_agreeing(page);
  return false;
}

}  // namespace mrlease::store
