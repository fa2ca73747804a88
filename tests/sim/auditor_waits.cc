// SPDX-License-Identifier: Apache-2.0
// P2: nobody waits without bound. Between two things that happen to the line of a file lies at most what one client is
// given, and its fence, and file work; or what an operation that was allowed is given; or a hold.
#include <algorithm>

#include "tests/sim/world.h"

namespace mrlease::sim {

using core::BreakKind;

namespace {

Time plus(Time a, Time b) { return a > core::kNever - b ? core::kNever : a + b; }

}  // namespace

void Auditor::moved(const core::FileKey& file, Time now) {
  if (const auto it = due_.find(file); it != due_.end()) {
    due_order_.erase({it->second, file});
    due_.erase(it);
  }
  const std::vector<core::BreakId>& line = line_[file];
  if (line.empty()) return;
  const Time turn = most_.recall_deadline + 2 * most_.fence_deadline + 2 * most_.work_deadline;
  Time due = plus(now, turn);
  bool waits = false;
  for (const core::BreakId id : line) {
    const BreakView& b = breaks_[id];
    waits |= b.answers == 0;
    // Denied early: what it had asked of others is waited for, and then given back.
    if (b.ask.kind <= BreakKind::Read && b.code != 0) due = std::max(due, plus(now, turn + most_.recall_deadline));
    if (b.passing && !b.left) due = std::max(due, plus(now, most_.passing_bound + turn));
    if (b.ask.kind == BreakKind::Freeze && b.answers > 0 && b.code == 0) {
      const Time max = most_.freeze_hold_max;
      due = std::max(due, plus(now, (b.ask.hold == 0 ? max : std::min(b.ask.hold, max)) + turn));
    }
  }
  if (!waits) return;
  due_[file] = due;
  due_order_.insert({due, file});
}

void Auditor::check_waits(Time now) {
  check_held(now);
  while (!due_order_.empty() && due_order_.begin()->first < now) {
    const core::FileKey file = due_order_.begin()->second;
    due_order_.erase(due_order_.begin());
    due_.erase(file);
    complain("P2: the line of file " + std::to_string(file.inode) + " does not move, and somebody waits");
  }
}

// A foreign operation waits for no line that clients make longer behind it.
void Auditor::check_order(const BreakView& answered) {
  if (answered.ask.kind < BreakKind::Freeze || answered.code != 0) return;
  const std::vector<core::BreakId>& line = line_[answered.ask.file];
  const auto is_freeze = [&](core::BreakId id) {
    return breaks_[id].ask.kind == BreakKind::Freeze && id != answered.ask.id && breaks_[id].answers > 0;
  };
  if (std::any_of(line.begin(), line.end(), is_freeze)) return;  // it may have to wait for that one's thaw
  for (const core::BreakId id : line) {
    const BreakView& b = breaks_[id];
    const bool foreign = b.ask.owner == 0 && b.ask.kind <= BreakKind::Read;
    if (foreign && b.answers == 0 && b.asked_at < answered.asked_at)
      complain("P2: break " + std::to_string(id) + " is overtaken by what was asked for through the API");
  }
}

}  // namespace mrlease::sim
