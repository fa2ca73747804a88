// SPDX-License-Identifier: Apache-2.0
// P2 for each operation by itself: from the moment in which the kernel holds it, by a count of what is in line before it. What
// a turn may take is the policy's: a recall, its fence and, if that hangs, its kill; file work where there is any; the time
// of an operation that was allowed; a freeze's hold. Of what the arbiter does with its timers nothing is used.
#include <algorithm>

#include "tests/sim/world.h"

namespace mrlease::sim {

using core::BreakKind;

namespace {

constexpr Time kMoment = 1;

bool is_foreign(const core::event::RequestBreak& b) { return b.owner == 0 && b.kind <= BreakKind::Read; }

}  // namespace

// One half of a break: everybody whom it concerns gets out of its way, or gets back what it can have.
Time Auditor::half_a_turn(const core::FileKey& file, BreakKind kind) const {
  const bool reading = kind == BreakKind::Read;
  Time work = 0;
  if (const auto of = of_file_.find(file); of != of_file_.end())
    for (const core::LeaseId id : of->second) {
      const LeaseView& v = leases_.at(id);
      const bool bounce = v.lease.backing == core::Backing::Bounce && (v.lease.write || !reading);
      const auto r = w_.regions.find(id);
      const bool store = r != w_.regions.end() && !r->second->held.empty();
      if (bounce || store || v.ending || v.fence_began != core::kNever) work = most_.work_deadline;
    }
  return most_.recall_deadline + 2 * most_.fence_deadline + work;
}

// What a break that is in line before an operation may still take.
Time Auditor::rest_of(const BreakView& b, bool reading, Time now) const {
  const Time half = half_a_turn(b.ask.file, b.ask.kind);
  const bool waits = w_.shape.policy.freeze_conflict == core::FreezeConflict::Wait && !reading;
  switch (b.ask.kind) {
    case BreakKind::Freeze: {
      const Time hold = b.ask.hold == 0 ? most_.freeze_hold_max : std::min(b.ask.hold, most_.freeze_hold_max);
      if (b.answers == 0) return 2 * half + most_.work_deadline + (waits ? hold : 0);
      return half + (waits && now < b.holds_until ? b.holds_until - now : 0);
    }
    case BreakKind::Sync:
    case BreakKind::Revoke: return half + most_.work_deadline;
    default: {
      const Time runs = b.left ? 0 : most_.passing_bound;
      const bool out = b.answers > 0 && b.code == 0;
      return (out ? 0 : half) + runs + half;
    }
  }
}

Time Auditor::due_of(const core::FileKey& file, BreakKind kind, core::BreakId id, Time now) {
  const bool reading = kind == BreakKind::Read;
  Time due = now + half_a_turn(file, kind), api = 0, after_freeze = 0;
  for (const core::BreakId other : line_[file]) {
    const BreakView& b = breaks_.at(other);
    if (other == id || (held_.count(other) != 0 && other > id)) continue;
    const Time rest = rest_of(b, reading, now);
    if (b.ask.kind == BreakKind::Freeze) after_freeze = half_a_turn(file, BreakKind::Sync) + most_.work_deadline;
    // Of what was asked for through the API one may have begun; the others have to wait.
    if (is_foreign(b.ask) || b.answers > 0) due += rest;
    else api = std::max(api, rest);
  }
  for (const auto& [other, h] : held_)  // their events are on their way
    if (h.file == file && other < id && breaks_.count(other) == 0) due += 2 * half_a_turn(file, h.kind) + most_.passing_bound;
  return due + api + after_freeze;  // while it waited for a thaw, a sync may have begun
}

void Auditor::held(core::BreakId id, const core::FileKey& file, BreakKind kind, Time now) {
  Held& h = held_[id];
  h = {file, kind, now, due_of(file, kind, id, now)};
  held_order_.insert({h.due, id});
}

// The arbiter hears of it a moment later, and of others perhaps before it.
void Auditor::in_line(core::BreakId id, Time now) {
  const auto it = held_.find(id);
  if (it == held_.end() || now > it->second.since + kMoment) return;
  held_order_.erase({it->second.due, id});
  it->second.due = due_of(it->second.file, it->second.kind, id, now);
  held_order_.insert({it->second.due, id});
}

void Auditor::let_go(core::BreakId id) {
  const auto it = held_.find(id);
  if (it == held_.end()) return;
  held_order_.erase({it->second.due, id});
  held_.erase(it);
}

void Auditor::none_held() {
  held_.clear();
  held_order_.clear();
}

// Longer times count for what begins after they were set.
void Auditor::hold_anew(Time now) {
  held_order_.clear();
  for (auto& [id, h] : held_) {
    h.due = std::max(h.due, due_of(h.file, h.kind, id, now));
    held_order_.insert({h.due, id});
  }
}

void Auditor::check_held(Time now) {
  if (held_order_.empty() || held_order_.begin()->first >= now) return;
  const core::BreakId id = held_order_.begin()->second;
  complain("P2: operation " + std::to_string(id) + " is held for longer than it, and what was in line before it, may take");
  let_go(id);
}

}  // namespace mrlease::sim
