// SPDX-License-Identifier: Apache-2.0
// P9, what a lease was told that the guard holds is held; and P6, what a peer sees of a break.
#include <algorithm>

#include "tests/sim/world.h"

namespace mrlease::sim {

using core::Backing;
using core::BreakKind;

namespace {

// Design, section 4: everything in the row of the table, for one who was told that the file is guarded.
bool must_be_held(BreakKind kind, bool shortens, const core::Lease& lease) {
  const bool bounce = lease.backing == Backing::Bounce;
  switch (kind) {
    case BreakKind::Truncate: return true;
    case BreakKind::Destructive: return shortens || bounce || lease.backing == Backing::Direct;
    case BreakKind::Write: return bounce;
    case BreakKind::Read: return bounce && lease.write;
    default: return false;
  }
}

}  // namespace

void Auditor::covered(core::LeaseId lease, wire::v1::Guard guard) {
  if (guard == wire::v1::GUARD_PRECONTENT) covered_.insert(lease);
}

// The guard has answered by itself.
void Auditor::passed(const core::FileKey& file, BreakKind kind, bool shortens, core::Extent extent) {
  for (const core::LeaseId id : of_file_[file]) {
    const LeaseView& v = leases_[id];
    if (!v.lease.extent.overlaps(extent)) continue;
    coverage_.nothing_asked({kind, shortens}, v.lease.backing);
    const bool lives = !v.fenced && !v.ending && v.fence_began == core::kNever;
    if (lives && covered_.count(id) != 0 && must_be_held(kind, shortens, v.lease))
      complain("P9: the guard lets pass what lease " + std::to_string(id) + " was told that it holds");
  }
  for (const core::BreakId id : line_[file]) {
    const BreakView& b = breaks_[id];
    const bool still = b.ask.kind == BreakKind::Freeze && w_.clock.now() < b.firm_until && b.ask.extent.overlaps(extent);
    if (still && kind != BreakKind::Read) complain("P9: the guard lets pass a change of a range that freeze " + std::to_string(id) + " holds");
  }
}

// A peer's operation has met nothing: on-demand pages that the file has lost. Its connection is broken.
void Auditor::peer_failed(core::LeaseId id, u64 page) {
  const auto it = leases_.find(id);
  if (it == leases_.end()) return;  // nobody protects it
  const LeaseView& v = it->second;
  if (v.ending || v.fenced || v.fence_began != core::kNever || lost_leases_.count(id) != 0 || misled_.count(id) != 0) return;
  complain("P6: a peer's operation on page " + std::to_string(page) + " of lease " + std::to_string(id) + " fails");
}

// Whoever complies keeps its keys, but for direct.
void Auditor::check_keys(const Region& r) {
  if (r.backing != Backing::Direct && r.generation > 1)
    complain("P6: lease " + std::to_string(r.lease) + " has had " + std::to_string(r.generation) + " keys");
}

}  // namespace mrlease::sim
