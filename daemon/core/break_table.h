// SPDX-License-Identifier: Apache-2.0
// What each kind of break asks of each backing, before the operation is allowed and after it has left. Data only.
#pragma once

#include "daemon/core/types.h"

namespace mrlease::core {

// One phase. The client acts first; the daemon's work starts after the client's answer.
struct Duty {
  Action action = Action::None;
  Work work = Work::None;
  bool operator==(const Duty&) const = default;
  bool nothing() const { return action == Action::None && work == Work::None; }
};

struct Row {
  Duty before;
  Duty after;
  bool operator==(const Row&) const = default;
  bool nothing() const { return before.nothing() && after.nothing(); }
};

// The table as it stands in the design, for a lease that writes and is not frozen.
const Row& row(BreakKind kind, Backing backing);

// The row for this very lease. Two things change it: a lease that only reads owes the file nothing, and a lease that
// a freeze holds (`frozen`) must not bring anything into the file before its thaw.
Row row_for(BreakKind kind, const Lease& lease, bool frozen);

// As what the break comes to this lease. On-demand pages need nothing for most that is Destructive, but what shortens the file
// takes the pages at its end away as a truncate does.
BreakKind kind_for(BreakKind kind, bool shortens, const Lease& lease);
bool on_demand(Backing backing);  // odp, transparent or cooperative

// It cuts off the bounce pages beyond the file's end.
bool trims(Work work);
bool syncs(Work work);

// Truncate, Destructive and Write (and Read) are operations of somebody that pass through a guard and have an end that
// can be watched; Sync, Freeze and Revoke are over when they are answered.
bool has_operation(BreakKind kind);

const char* name(BreakKind kind);

}  // namespace mrlease::core
