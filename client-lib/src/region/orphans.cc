// SPDX-License-Identifier: Apache-2.0
#include "client-lib/src/region/orphans.h"

#include <sys/stat.h>

#include <algorithm>
#include <utility>

namespace mrlease::client {
namespace {

constexpr std::uint64_t kPiece = 256;  // pages: what a recall waits for

}  // namespace

void Orphans::adopt(Store store) {
  const std::uint64_t before = store.id;
  store.id = ++last_;
  store.forgotten = true;
  store.end = page_up(store.end);  // what lies behind the end of then, in its page, was written since
  // The head went back to the file, or was never of it.
  std::uint64_t done = 0;
  for (const Segment& s : segments_.orphans(segments_.pages())) {
    if (s.store != before) continue;
    const std::uint64_t inside = first_byte(s) - store.begin;
    (void)discard_pages(store, store.begin + done, (inside - done) / kPage);
    done = inside + s.pages() * kPage;
    segments_.set(s.begin, s.end, Segment::Kind::Orphan, store.id);
  }
  if (done == 0) return;
  stats_.kept += bytes_held(store);
  const std::uint64_t id = store.id;
  stores_.emplace(id, Kept{std::move(store), std::chrono::steady_clock::now()});
}

Outcome Orphans::extend(std::uint64_t end) {
  for (const Segment& s : segments_.orphans(end)) {
    Outcome mapped = to_file(s);
    if (!mapped.ok()) return mapped;
    if (const auto kept = stores_.find(s.store); kept != stores_.end()) stats_.discarded += drop(kept->second, first_byte(s), s.pages());
  }
  forget_unused();
  return {};
}

Outcome Orphans::reattach(std::uint64_t end, const MergeFn& merge) {
  const std::vector<Segment> there = segments_.orphans(end);
  if (there.empty()) return {};
  Segment piece = there.front();
  piece.end = std::min(piece.end, piece.begin + kPiece);
  const auto found = stores_.find(piece.store);
  if (found == stores_.end()) return {EIO, "what an operation cut off that could not be settled cannot be put back"};
  const Kept& kept = found->second;
  const PageSet held = pages_held(kept.store, first_byte(piece), piece.pages());
  Outcome o = held.count() == 0 ? Outcome{} : merge(kept.store, ranges_of(held, first_byte(piece), kept.store));
  // Where nobody holds a truncate the file may be short again, and what was not written is here only.
  struct stat now {};
  if (o.ok() && ::fstat(layout_.file, &now) != 0) o = from_errno("fstat");
  if (o.ok() && static_cast<std::uint64_t>(now.st_size) <= first_byte(piece) + (piece.pages() - 1) * kPage)
    o = {EAGAIN, "the file is shorter again; call again when it has grown"};
  if (o.ok()) o = to_file(piece);
  if (!o.ok()) return o;
  stats_.reattached += drop(kept, first_byte(piece), piece.pages());
  forget_unused();
  return segments_.orphans(end).empty() ? Outcome{} : Outcome{EINPROGRESS, "there are more"};
}

void Orphans::discard(Deadline cut_before) {
  for (const Segment& s : segments_.orphans(segments_.pages())) {
    const auto kept = stores_.find(s.store);
    if (kept != stores_.end() && kept->second.cut <= cut_before) stats_.discarded += drop(kept->second, first_byte(s), s.pages());
  }
}

Outcome Orphans::map_again() {
  Outcome first;
  for (const Segment& s : segments_.orphans(segments_.pages())) {
    const auto found = stores_.find(s.store);
    Outcome mapped = found == stores_.end() ? Outcome{} : map_store(layout_, found->second.store, {s.begin, s.end});
    if (first.ok()) first = mapped;
  }
  return first;
}

// How many bytes it held.
std::uint64_t Orphans::drop(const Kept& kept, std::uint64_t first_byte, std::uint64_t pages) {
  const std::uint64_t held = bytes_held(kept.store);
  (void)discard_pages(kept.store, first_byte, pages);
  return held - std::min(held, bytes_held(kept.store));
}

Outcome Orphans::to_file(const Segment& s) {
  Outcome mapped = map_file(layout_, s.begin, s.end, layout_.protection, true, nullptr);
  if (mapped.ok()) segments_.set(s.begin, s.end, Segment::Kind::File);
  return mapped;
}

void Orphans::forget_unused() {
  std::erase_if(stores_, [this](const auto& entry) { return !segments_.uses(entry.first); });
}

}  // namespace mrlease::client
