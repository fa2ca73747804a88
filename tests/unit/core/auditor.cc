// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/core/auditor.h"

#include <algorithm>

namespace mrlease::core {
namespace {

Extent span(const event::RequestBreak& b) {
  return b.kind == BreakKind::Truncate ? Extent{b.new_size, kToEnd} : b.extent;
}

}  // namespace

void Auditor::saw(const Event& event, Time now) {
  going_ = std::holds_alternative<event::SessionGone>(event);
  if (const auto* e = std::get_if<event::RequestLease>(&event)) requests_[e->request] = e->lease;
  if (const auto* e = std::get_if<event::RecallAnswered>(&event)) recall_answered(*e);
  if (const auto* e = std::get_if<event::ReleaseLease>(&event)) {
    const auto it = leases_.find(e->lease);
    if (it != leases_.end() && it->second.lease.session == e->session) ended(it->second);
  }
  if (const auto* e = std::get_if<event::SessionGone>(&event)) {
    for (auto& [id, v] : leases_) {
      if (v.lease.session == e->session) ended(v);
    }
    for (auto& [id, b] : breaks_) b.dropped |= b.ask.owner == e->session;
  }
  if (const auto* e = std::get_if<event::FenceDone>(&event)) {
    const auto it = leases_.find(e->lease);
    if (it != leases_.end() && it->second.fence_began != kNever) it->second.fenced = true;
  }
  if (const auto* e = std::get_if<event::RequestBreak>(&event)) {
    breaks_[e->id].ask = *e;
    std::vector<BreakId>& line = line_[e->file];
    if (std::all_of(line.begin(), line.end(), [&](BreakId id) { return breaks_[id].answers > 0; })) {
      progress_[e->file] = now;
    }
    line.push_back(e->id);
  }
  if (const auto* e = std::get_if<event::Thaw>(&event)) {
    if (const auto it = breaks_.find(e->freeze); it != breaks_.end()) it->second.may_thaw = true;
  }
  if (const auto* e = std::get_if<event::OperationLeft>(&event)) {
    if (const auto it = breaks_.find(e->id); it != breaks_.end()) {
      it->second.under.clear();
      it->second.may_thaw = true;  // it has left: it is not going in any more
    }
  }
}

// Only the right session's consent counts, and only to a recall that is still open.
void Auditor::recall_answered(const event::RecallAnswered& e) {
  const auto it = recalls_.find(e.recall);
  if (it == recalls_.end() || it->second.session != e.session) return;
  const effect::Recall r = it->second;
  recalls_.erase(it);
  const auto lease = leases_.find(r.lease);
  if (lease == leases_.end() || e.code != 0) return;
  LeaseView& v = lease->second;
  if (r.action == Action::Quiesce) v.quiesced = true;
  if (r.action == Action::Trim) v.trimmed_at = std::min(v.trimmed_at, r.extent.begin);
  if (r.action == Action::Freeze) ++v.frozen;
  if (r.action == Action::Release) ended(v);
}

// Its MRs are gone.
void Auditor::ended(LeaseView& v) {
  if (!v.ending && v.frozen > 0 && v.lease.write && v.fence_began == kNever) v.store_owed = true;
  v.ending = true;
}

void Auditor::forgotten(LeaseId id) {
  const auto it = leases_.find(id);
  if (it == leases_.end()) return complain("an end of a lease that is not granted");
  if (it->second.store_owed) complain("lease " + std::to_string(id) + " ended without the merge of its frozen store");
  leases_.erase(it);
}

void Auditor::gives_back(LeaseId id) {
  for (const BreakId b : line_[leases_.at(id).lease.file]) {
    if (breaks_[b].under.count(id) != 0) {
      complain("lease " + std::to_string(id) + " comes back under break " + std::to_string(b) + ", which is inside");
    }
  }
}

// A freeze that holds for certain; it may be thawing as soon as there is a reason to.
bool Auditor::frozen(const LeaseView& v, Time now) const {
  if (policy_.freeze_conflict != FreezeConflict::Wait) return false;
  const Extent on_file{v.lease.extent.begin, (v.lease.on_file_end + 4095) / 4096 * 4096};
  if (v.lease.on_file_end <= v.lease.extent.begin) return false;
  return std::any_of(breaks_.begin(), breaks_.end(), [&](const auto& entry) {
    const BreakView& b = entry.second;
    const Time max = policy_.freeze_hold_max;
    const Time hold = b.ask.hold == 0 ? max : std::min(b.ask.hold, max);
    return b.ask.kind == BreakKind::Freeze && b.answers == 1 && b.code == 0 && b.dones == 0 && !b.may_thaw &&
           !b.dropped && now < b.held_since + hold && b.ask.file == v.lease.file && b.ask.extent.overlaps(on_file);
  });
}

void Auditor::went_in(const effect::WatchPassing& e, const Arbiter& arbiter) {
  BreakView& b = breaks_[e.id];
  if (b.code != 0 || b.may_thaw) return;
  for (const auto& [id, v] : leases_) {
    const Lease& l = v.lease;
    const Lease* present = arbiter.find(id);  // a cut of this very step counts
    if (!present || !(l.file == b.ask.file) || v.fence_began != kNever) continue;
    const std::uint64_t end = std::min(l.on_file_end, present->on_file_end);
    if (end <= l.extent.begin) continue;
    const Extent pages{l.extent.begin / 4096 * 4096, (end + 4095) / 4096 * 4096};
    const bool whole_pages = l.backing == Backing::OdpTransparent || l.backing == Backing::OdpCooperative;
    const std::uint64_t from = whole_pages ? (b.ask.new_size + 4095) / 4096 * 4096 : b.ask.new_size;
    const bool cut = b.ask.kind == BreakKind::Truncate && from < end;
    const bool holed = b.ask.kind == BreakKind::Destructive && l.backing == Backing::Direct &&
                       pages.overlaps(b.ask.extent);
    if (cut || holed) b.under.insert(id);
  }
}

void Auditor::recalled(const effect::Recall& r, const Arbiter& arbiter) {
  recalls_[r.recall] = r;
  const auto it = leases_.find(r.lease);
  if (it == leases_.end()) return complain("a recall of a lease that is not granted");
  LeaseView& v = it->second;
  if (v.fenced) complain("a recall of a fenced lease");
  if (v.ending && !going_) complain("a recall of a lease that has ended");
  if (r.action == Action::Reregister || r.action == Action::Settle) {
    gives_back(r.lease);
    const Lease* present = arbiter.find(r.lease);  // may be extended in this step, after the recall
    const std::uint64_t end = std::max(v.lease.on_file_end, present ? present->on_file_end : 0);
    if (end < v.lease.extent.end && r.size > end) {
      complain("lease " + std::to_string(r.lease) + " gets back more than breaks protect");
    }
  }
  if (r.session != v.lease.session) complain("a recall to a stranger");
  if (r.action == Action::Reregister) v.quiesced = false;  // from now on the device may be back
  if (r.action == Action::Settle) v.trimmed_at = kToEnd;
  if (r.action == Action::Thaw && --v.frozen < 0) complain("a thaw of what is not frozen");
}

void Auditor::work_started(const effect::StartWork& w, Time now) {
  const auto it = leases_.find(w.lease);
  if (it == leases_.end()) {
    if (w.lease != 0) complain("work for a lease that is not granted");
    return;
  }
  LeaseView& v = it->second;
  if (w.kind == Work::ResumeFlush) gives_back(w.lease);
  if (w.kind == Work::Flush && v.lease.backing != Backing::Bounce) {
    if (!v.ending && !v.fenced && v.fence_began == kNever) complain("the store of a lease that lives is merged");
    if (frozen(v, now)) complain("a frozen file gets the store of a lease that ended");
    v.store_owed = false;
  }
  const bool writes_file = w.kind == Work::Flush || (w.kind == Work::Fsync && v.lease.backing == Backing::Bounce);
  if (writes_file && v.lease.write && v.frozen_flush && policy_.freeze_conflict != FreezeConflict::Allow) {
    complain("a frozen file is written");
  }
  if (writes_file && v.held) complain("a flush under a truncate");
  // Of a frozen lease the thaw resumes it, and a revoke that policy lets through the freeze may flush.
  if (w.kind == Work::HoldFlush && !v.frozen_flush) v.held = true;
  if (w.kind == Work::FreezeFlush) v.frozen_flush = true;
  if (w.kind == Work::ResumeFlush) v.held = v.frozen_flush = false;
}

bool Auditor::reachable(const LeaseView& v, const BreakView& b, Time now, std::uint64_t end) const {
  const Lease& l = v.lease;
  const std::uint64_t on_file_end = (end + 4095) / 4096 * 4096;
  const Extent on_file{l.extent.begin, on_file_end};
  if (v.fenced || v.ending || l.backing == Backing::Bounce || on_file.empty() || !on_file.overlaps(span(b.ask))) return false;
  if (v.fence_began != kNever && now >= v.fence_began + 2 * policy_.fence_deadline) return false;  // P2's bound
  if (l.backing == Backing::Direct) {
    return !v.quiesced && !(b.ask.kind == BreakKind::Truncate && end <= b.ask.new_size);
  }
  if (b.ask.kind != BreakKind::Truncate) return false;  // coherent by the kernel
  const std::uint64_t first_gone = (std::max(b.ask.new_size, l.extent.begin) + 4095) / 4096 * 4096;
  return first_gone < end && v.trimmed_at > first_gone;
}

void Auditor::answered(const effect::BreakAnswered& e, Time now, const Arbiter& arbiter) {
  BreakView& b = breaks_[e.id];
  b.code = e.deny_errno;
  if (e.deny_errno == 0) b.held_since = now;
  progress_[b.ask.file] = now;
  const auto holds_freeze = [&](BreakId id) {
    return breaks_[id].ask.kind == BreakKind::Freeze && breaks_[id].answers > 0;
  };
  const std::vector<BreakId>& line = line_[b.ask.file];
  // A freeze is what a foreign operation may have to wait for, and a sync that began during it runs on after it.
  const bool api = b.ask.owner != 0 && e.deny_errno == 0 && b.ask.kind != BreakKind::Freeze;
  if (api && std::none_of(line.begin(), line.end(), holds_freeze)) {
    for (const BreakId id : line) {
      BreakView& o = breaks_[id];
      const bool foreign = o.ask.owner == 0 && o.ask.kind <= BreakKind::Read;
      if (!foreign || o.answers > 0 || ++o.overtaken <= 1) continue;
      complain("foreign break " + std::to_string(id) + " waits for a line of API breaks: " + std::to_string(e.id));
    }
  }
  if (++b.answers > 1) complain("break " + std::to_string(e.id) + " was answered twice");
  if (b.dones > 0) complain("break " + std::to_string(e.id) + " was answered after its end");
  const bool removes = b.ask.kind == BreakKind::Truncate || b.ask.kind == BreakKind::Destructive;
  if (e.deny_errno != 0 || !removes) return;
  for (const auto& [id, v] : leases_) {
    const Lease* present = arbiter.find(id);
    if (!present || !(v.lease.file == b.ask.file)) continue;
    // A cut comes before the answer, an extension after it.
    if (reachable(v, b, now, std::min(v.lease.on_file_end, present->on_file_end))) {
      complain("break " + std::to_string(e.id) + " was allowed over lease " + std::to_string(id));
    }
  }
}

void Auditor::granted(const effect::Granted& e) {
  const Lease fresh = requests_.at(e.request);
  for (const auto& [id, v] : leases_) {
    const Lease& o = v.lease;
    if (v.fenced || !(o.file == fresh.file) || !o.extent.overlaps(fresh.extent)) continue;
    const bool overrun = v.fence_began != kNever;
    if ((o.write || fresh.write) && !(o.share && fresh.share) && !overrun) complain("conflicting leases");
  }
  for (const BreakId id : line_[fresh.file]) {
    const event::RequestBreak& b = breaks_[id].ask;
    if (b.kind == BreakKind::Read || b.kind == BreakKind::Sync) continue;
    if (span(b).overlaps(fresh.extent)) complain("a grant under a break");
  }
  leases_[fresh.id].lease = fresh;
}

void Auditor::over(const effect::BreakDone& e, Time now) {
  BreakView& b = breaks_[e.id];
  if (++b.dones > 1) complain("break " + std::to_string(e.id) + " ended twice");
  if (b.answers == 0 && !b.dropped) complain("break " + std::to_string(e.id) + " ended without an answer");
  std::erase(line_[b.ask.file], e.id);
  progress_[b.ask.file] = now;
}

void Auditor::check_bounds(Time now) {
  // One operation inside, and one way to comply.
  const Time bound =
    policy_.passing_bound + policy_.recall_deadline + 3 * policy_.fence_deadline + policy_.work_deadline;
  for (const auto& [file, line] : line_) {
    const auto waits = std::find_if(line.begin(), line.end(), [&](BreakId id) { return breaks_[id].answers == 0; });
    if (waits == line.end()) continue;
    const bool frozen = std::any_of(line.begin(), line.end(), [&](BreakId id) {
      return breaks_[id].ask.kind == BreakKind::Freeze && breaks_[id].answers > 0;
    });
    // Two works, one after the other: the last flush of a lease that ends, then the fsync that was asked for.
    const bool syncs = std::any_of(line.begin(), line.end(), [&](BreakId id) {
      return breaks_[id].ask.kind == BreakKind::Sync && breaks_[id].answers == 0;
    });
    const Time more = (frozen ? policy_.freeze_hold_max : 0) + (syncs ? policy_.work_deadline : 0);
    if (now > progress_[file] + bound + more) {
      complain("break " + std::to_string(*waits) + " waits, and its line does not move");
    }
  }
}

void Auditor::saw(const Effects& effects, Time now, const Arbiter& arbiter) {
  for (const Effect& effect : effects) {
    if (const auto* e = std::get_if<effect::Granted>(&effect)) granted(*e);
    if (const auto* e = std::get_if<effect::Released>(&effect)) forgotten(e->lease);
    if (const auto* e = std::get_if<effect::Forget>(&effect)) forgotten(e->lease);
    if (const auto* e = std::get_if<effect::WatchPassing>(&effect)) went_in(*e, arbiter);
    if (const auto* e = std::get_if<effect::Recall>(&effect)) recalled(*e, arbiter);
    if (const auto* e = std::get_if<effect::StartWork>(&effect)) work_started(*e, now);
    if (const auto* e = std::get_if<effect::StartFence>(&effect)) {
      LeaseView& v = leases_[e->lease];
      if (v.fence_began == kNever) v.fence_began = now;
    }
    if (const auto* e = std::get_if<effect::BreakAnswered>(&effect)) answered(*e, now, arbiter);
    if (const auto* e = std::get_if<effect::BreakDone>(&effect)) over(*e, now);
  }
  for (auto& [id, v] : leases_) {
    if (const Lease* present = arbiter.find(id)) v.lease.on_file_end = present->on_file_end;
  }
  check_bounds(now);
}

void Auditor::drained() {
  for (const auto& [id, b] : breaks_) {
    if (b.dones != 1) complain("break " + std::to_string(id) + " never ended");
    if (b.answers != 1 && !b.dropped) complain("break " + std::to_string(id) + " was never answered");
  }
  for (const auto& [id, v] : leases_) {
    if (v.fenced || v.fence_began != kNever) continue;
    const bool whole = !v.quiesced && v.trimmed_at == kToEnd && v.frozen == 0 && !v.held && !v.frozen_flush;
    if (!whole) complain("lease " + std::to_string(id) + " was not given back what it can have");
  }
}

}  // namespace mrlease::core
