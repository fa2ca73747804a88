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
  if (const auto* e = std::get_if<event::RequestLease>(&event)) requests_[e->request] = e->lease;
  if (const auto* e = std::get_if<event::RecallAnswered>(&event)) recall_answered(*e);
  if (const auto* e = std::get_if<event::ReleaseLease>(&event)) {
    const auto it = leases_.find(e->lease);
    if (it != leases_.end() && it->second.lease.session == e->session) it->second.ending = true;
  }
  if (const auto* e = std::get_if<event::SessionGone>(&event)) {
    for (auto& [id, v] : leases_) v.ending |= v.lease.session == e->session;
    for (auto& [id, b] : breaks_) b.dropped |= b.ask.owner == e->session;
  }
  if (const auto* e = std::get_if<event::FenceDone>(&event)) {
    const auto it = leases_.find(e->lease);
    if (it != leases_.end() && it->second.fence_began != kNever) it->second.fenced = true;
  }
  if (const auto* e = std::get_if<event::RequestBreak>(&event)) {
    breaks_[e->id].ask = *e;
    if (line_[e->file].empty()) progress_[e->file] = now;
    line_[e->file].push_back(e->id);
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
  if (r.action == Action::Release) v.ending = true;
}

void Auditor::recalled(const effect::Recall& r) {
  recalls_[r.recall] = r;
  const auto it = leases_.find(r.lease);
  if (it == leases_.end()) return complain("a recall of a lease that is not granted");
  LeaseView& v = it->second;
  if (v.fenced) complain("a recall of a fenced lease");
  if (r.session != v.lease.session) complain("a recall to a stranger");
  if (r.action == Action::Reregister) v.quiesced = false;  // from now on the device may be back
  if (r.action == Action::Settle) v.trimmed_at = kToEnd;
  if (r.action == Action::Thaw && --v.frozen < 0) complain("a thaw of what is not frozen");
}

void Auditor::work_started(const effect::StartWork& w) {
  const auto it = leases_.find(w.lease);
  if (it == leases_.end()) {
    if (w.lease != 0) complain("work for a lease that is not granted");
    return;
  }
  LeaseView& v = it->second;
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
  if (v.fenced || l.backing == Backing::Bounce || on_file.empty() || !on_file.overlaps(span(b.ask))) return false;
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
  const Time bound = policy_.recall_deadline + 3 * policy_.fence_deadline + policy_.work_deadline;
  for (const auto& [file, line] : line_) {
    if (line.empty()) continue;
    const BreakView& head = breaks_[line.front()];
    if (head.answers == 0 && now > progress_[file] + bound) {
      complain("break " + std::to_string(head.ask.id) + " is first in its line and waits too long");
    }
  }
}

void Auditor::saw(const Effects& effects, Time now, const Arbiter& arbiter) {
  for (const Effect& effect : effects) {
    if (const auto* e = std::get_if<effect::Granted>(&effect)) granted(*e);
    if (const auto* e = std::get_if<effect::Released>(&effect)) leases_.erase(e->lease);
    if (const auto* e = std::get_if<effect::Forget>(&effect)) leases_.erase(e->lease);
    if (const auto* e = std::get_if<effect::Recall>(&effect)) recalled(*e);
    if (const auto* e = std::get_if<effect::StartWork>(&effect)) work_started(*e);
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
