// SPDX-License-Identifier: Apache-2.0
// P1, P3, P4 and P5, by what is in truth in the files and within reach of devices.
#include <algorithm>

#include "tests/sim/world.h"

namespace mrlease::sim {

using core::Backing;
using core::BreakKind;

void Auditor::acknowledged(core::LeaseId lease, const core::FileKey& file, u64 page, u64 stamp, bool copies) {
  written_[file][{page, lease}] = {stamp, false, copies};
}

// What it is told is not believed: behind the smallest end that the file has had since the lease was granted.
void Auditor::cut_off(core::LeaseId lease, const core::FileKey& file, u64 size) {
  const auto end = smallest_end_.find(lease);
  if (end == smallest_end_.end()) return;
  size = std::max(size, end->second);
  std::erase_if(written_[file], [&](const auto& w) { return w.first.second == lease && w.first.first * kPage >= size; });
}

void Auditor::wrote(const File& file, u64 page, u64 stamp, core::LeaseId lease, u64 let_go) {
  if (lost_leases_.count(lease) != 0 || overrun_.count(lease) != 0) return;
  if (unprotected_.count(lease) != 0 || misled_.count(lease) != 0) return;
  // Of one lease: of two the order is their peers' matter.
  const auto last = written_[file.key].find({page, lease});
  const bool newest = last != written_[file.key].end() && !last->second.moved && !last->second.came && file.pages[page].stamp == last->second.stamp;
  if (newest && stamp < last->second.stamp)
    complain("P3: page " + std::to_string(page) + " has the last write through lease " + std::to_string(lease) + ", and gets an older one");
  // A fence that overran its time: who waited has gone on without it, and what it saves comes late.
  const auto of = leases_.find(lease);
  const bool fenced = of != leases_.end() && of->second.fence_began != core::kNever;
  if (fenced && w_.clock.now() >= of->second.fence_began + 2 * w_.shape.policy.fence_deadline) return;
  for (const core::BreakId id : line_[file.key]) {
    const BreakView& b = breaks_[id];
    const bool firm = b.ask.kind == BreakKind::Freeze && w_.clock.now() < b.firm_until;
    const bool before = let_go < b.answered_as;  // a foreign write under way, for which no freeze waits
    if (firm && !before && b.ask.extent.overlaps({page * kPage, (page + 1) * kPage}))
      complain("P5: page " + std::to_string(page) + " of a frozen file changes, through lease " + std::to_string(lease));
  }
}

// A frozen range stands still: who would change it waits.
void Auditor::check_stillness(const BreakView& answered, Time now) {
  if (answered.ask.kind >= BreakKind::Read) return;
  const core::Extent changed = span(answered.ask);
  for (const core::BreakId id : line_[answered.ask.file]) {
    const BreakView& f = breaks_[id];
    if (f.ask.kind == BreakKind::Freeze && f.answers > 0 && now < f.firm_until && f.ask.extent.overlaps(changed))
      complain("P5: break " + std::to_string(answered.ask.id) + " is let go into what freeze " + std::to_string(id) + " holds");
  }
}

void Auditor::removes(const File& file, u64 first, u64 last, bool truncates, bool outlived, u64 let_go) {
  if (truncates) {
    if (outlived) mislead(file, first * kPage);
    mislead_unprotected(file, first * kPage);
    shortened(file, first * kPage);
  }
  if (!outlived) check_reach(file, first, last, truncates, let_go);
  auto& written = written_[file.key];
  written.erase(written.lower_bound({first, 0}), written.lower_bound({last, 0}));
}

// They are not told that the file ends earlier: what shortens it next may find them there (DESIGN.md, What shortens a file).
void Auditor::mislead(const File& file, u64 end) {
  for (const core::LeaseId id : of_file_[file.key])
    if (leases_[id].lease.extent.end > end) {
      misled_.insert(id);
      // What is pinned there is no page of the file any more.
      const auto r = w_.regions.find(id);
      const auto mr = r != w_.regions.end() && r->second->backing == Backing::Direct ? r->second->mr : nullptr;
      if (mr) mr->reach.end = std::min(mr->reach.end, std::max(mr->reach.begin, (end + kPage - 1) / kPage * kPage));
    }
}

void Auditor::shortened(const File& file, u64 end) {
  const auto ends = [&](core::LeaseId id) {
    const auto at = smallest_end_.try_emplace(id, end).first;
    at->second = std::min(at->second, end);
  };
  for (const core::LeaseId id : of_file_[file.key]) ends(id);
  for (const auto& [id, lease] : unprotected_)
    if (lease.file == file.key) ends(id);
}

void Auditor::mislead_unprotected(const File& file, u64 end) {
  for (const auto& [id, lease] : unprotected_)
    if (lease.file == file.key && lease.extent.end > end) misled_.insert(id);
}

bool Auditor::overran(core::BreakId id) const {
  const auto before = may_run_until_.find(id);
  if (before != may_run_until_.end()) return w_.clock.now() >= before->second;
  const auto it = breaks_.find(id);
  return it != breaks_.end() && it->second.passing && w_.clock.now() >= it->second.passing_since + w_.shape.policy.passing_bound;
}

// What is in the file moves with it; what is still to be brought there comes where it was written.
void Auditor::collapses(const File& file, u64 first, u64 last, bool told, bool outlived, u64 let_go) {
  const u64 end = (file.size + kPage - 1) / kPage, new_end = end - (last - first);
  if (!outlived) {
    check_reach(file, first, new_end, false, let_go);
    check_reach(file, new_end, end, told, let_go);
  }
  if (!told || outlived) mislead(file, new_end * kPage);
  mislead_unprotected(file, new_end * kPage);
  shortened(file, new_end * kPage);
  std::map<Place, Written> after;
  for (const auto& [place, w] : written_[file.key]) {
    const auto& [page, lease] = place;
    const bool moves = page >= first && file.pages[page].stamp >= w.stamp;
    // DMA into a pin makes no page dirty, and a sync asks only where the lease lies: whoever grants it cannot know of the collapse.
    const bool dropped = outlived && !file.pages[page].dirty && file.pages[page].durable < w.stamp;
    if (moves && (page < last || unprotected_.count(lease) != 0 || dropped)) continue;
    const u64 to = moves ? page - (last - first) : page;
    if (to >= new_end) continue;
    const auto [at, fresh] = after.emplace(Place(to, lease), w);
    if (!fresh) at->second.moved = true;
    if (moves) at->second.came = true;
  }
  written_[file.key] = std::move(after);
}

// From its answer on, and not only at the moment in which the pages go: as it is after each step of the arbiter.
void Auditor::check_inside() {
  std::erase_if(inside_, [this](core::BreakId id) { return breaks_.count(id) == 0 || breaks_[id].left; });
  for (const core::BreakId id : inside_) {
    const BreakView& b = breaks_[id];
    if (b.code != 0) continue;
    const bool truncates = b.ask.kind == BreakKind::Truncate;
    const u64 begin = truncates ? b.ask.new_size : b.ask.extent.begin;
    const File& file = w_.file(b.ask.file);
    const u64 end = truncates ? core::kToEnd : b.ask.extent.end;
    const u64 last = end >= file.size ? (file.size + kPage - 1) / kPage : end / kPage;
    check_reach(file, (begin + kPage - 1) / kPage, last, truncates, b.answered_as);
  }
}

// An odp device follows a punch: the kernel takes the page away from it. A truncate is an error to its peer.
void Auditor::check_reach(const File& file, u64 first, u64 last, bool truncates, u64 let_go) {
  const auto of = of_file_.find(file.key);
  if (of == of_file_.end()) return;
  for (const core::LeaseId id : of->second) {
    const auto it = w_.regions.find(id);
    if (it == w_.regions.end()) continue;
    const Region& r = *it->second;
    if (r.backing != Backing::Direct && (!truncates || lost_leases_.count(id) != 0 || misled_.count(id) != 0)) continue;
    const LeaseView& v = leases_[id];
    if (overruns(v) || let_go < v.let_go_past) {  // under this daemon, or under the one that had let it go
      coverage_.happened("a fence that overran its time");
      continue;  // P2's bound comes first, and it was reported
    }
    const u64 end = std::min({last, r.first() + r.segments.pages(), (file.size + kPage - 1) / kPage});
    for (u64 p = std::max(first, r.first()); p < end; ++p)
      if (r.reaches_file(p)) {
        complain("P1: page " + std::to_string(p) + " of file " + std::to_string(file.key.inode) + " goes, and a device reaches it through lease " + std::to_string(id));
        break;
      }
  }
}

// Neither fence nor kill has ended: P2's bound came first, and it was reported.
bool Auditor::overruns(const LeaseView& v) const {
  return v.fence_began != core::kNever && w_.clock.now() >= v.fence_began + 2 * w_.shape.policy.fence_deadline;  // as it was sent
}

void Auditor::forgive_overrun() {
  for (const auto& [id, v] : leases_)
    if (overruns(v)) overrun_.insert(id);
}

void Auditor::forgive(core::LeaseId lease, const Pages& pages) {
  for (const auto& [page, stamp] : pages.written) untaken_[{lease, page}] = std::max(untaken_[{lease, page}], stamp);
}

bool Auditor::excused(const Place& place, const Written& w) {
  const auto& [page, lease] = place;
  const auto untaken = untaken_.find({lease, page});
  const bool not_taken = untaken != untaken_.end() && w.stamp <= untaken->second;
  const bool is = w.moved || lost_leases_.count(lease) != 0 || overrun_.count(lease) != 0 || not_taken;
  ++(is ? excused_ : judged_);
  return is;
}

void Auditor::check_durable(const BreakView& sync) {
  forgive_overrun();
  const File& file = w_.file(sync.ask.file);
  for (const auto& [place, w] : written_[file.key]) {
    const auto& [page, lease] = place;
    if (w.stamp > sync.stamps || excused(place, w)) continue;
    // Not of leases that are frozen, whose turn comes after the thaw, nor of those that have ended.
    if (sync.ask.periodic && sync.written_back.count(lease) == 0) continue;
    // It was waited for, as long as that is done.
    const auto back = came_back_.find(lease);
    const bool late = back != came_back_.end() && sync.asked_at <= back->second;
    if ((unprotected_.count(lease) != 0 && !awaits_reclaims_) || late) continue;
    if (late_.count(lease) != 0 && w.copies) continue;
    if (!sync.ask.extent.overlaps({page * kPage, (page + 1) * kPage}) || !file.holds(page)) continue;
    if (file.pages[page].durable < w.stamp)
      complain("P4: page " + std::to_string(page) + " was written before a sync through lease " + std::to_string(lease) + " and is not durable after it");
  }
}

void Auditor::drained() {
  for (const auto& [id, b] : breaks_) complain("break " + std::to_string(id) + " never ends");
  for (const auto& [id, v] : leases_) {
    const auto it = w_.regions.find(id);
    const bool cut_off = v.fenced || v.fence_began != core::kNever || v.ending;
    if (!cut_off && it != w_.regions.end() && it->second->given_up) complain("lease " + std::to_string(id) + " was given up, and never ends");
    if (cut_off || lost_leases_.count(id) != 0 || it == w_.regions.end()) continue;
    if (it->second->fenced || it->second->gone) continue;  // given up by its client, before a restart perhaps
    const Region& r = *it->second;
    check_keys(r);
    const auto stores = [](const client::Segment& s) { return s.kind == client::Segment::Kind::Store; };
    const auto all = r.segments.all();
    const bool whole = !r.quiet && std::none_of(all.begin(), all.end(), stores) && (r.mr || r.size <= r.extent.begin);
    if (!whole) complain("lease " + std::to_string(id) + " does not get back what it can have" + (r.quiet ? ": its application waits for RESTORED" : !r.mr ? ": it has no memory region" : ": a store lies over its range"));
  }
}

void Auditor::ended() {
  for (const auto& [id, v] : leases_) complain("lease " + std::to_string(id) + " never ends");
  for (const auto& [key, pages] : written_) {
    const File& file = w_.file(key);
    for (const auto& [place, w] : pages) {
      if (!file.holds(place.first) || excused(place, w)) continue;
      if (file.pages[place.first].stamp < w.stamp)
        complain("P3: page " + std::to_string(place.first) + " lost what was written through lease " + std::to_string(place.second));
    }
  }
}

}  // namespace mrlease::sim
