// SPDX-License-Identifier: Apache-2.0
// Which leases a break touches, and what it asks of each.
#include <algorithm>

#include "daemon/core/extents.h"
#include "daemon/core/state.h"

namespace mrlease::core {
namespace {

// Where the file ends afterwards. What makes it shorter by some length may find it shorter than it was when it asked: but no
// shorter than the lease knows it, and than overdue operations make it.
std::uint64_t new_end(const Break& b, const Lease& lease, const FileQueue& queue) {
  if (b.ask.shorter_by == 0 || (!b.behind && queue.overdue.empty())) return b.ask.new_size;
  std::uint64_t end = lease.on_file_end;
  for (const Break* o : queue.overdue) {
    if (may_shorten(o->ask) && o->ask.shorter_by == 0) end = std::min(end, o->ask.new_size);
    else end -= std::min(end, o->ask.shorter_by);
  }
  return std::max(b.ask.extent.begin, std::min(b.ask.new_size, end - std::min(end, b.ask.shorter_by)));
}

// Empty: this lease is not asked for anything. kind: as what the break comes to it.
Extent asked_extent(const Break& b, BreakKind kind, const Lease& lease, const FileQueue& queue) {
  const bool direct = lease.backing == Backing::Direct;
  if (kind == BreakKind::Revoke) return lease.extent;
  if (kind == BreakKind::Truncate) {
    const std::uint64_t end = new_end(b, lease, queue);
    const Extent cut{std::max(page_down(end), lease.extent.begin), lease.on_file_end};
    if (cut.empty() || end >= lease.on_file_end) return {0, 0};
    if (direct) return lease.extent;  // an MR cannot lose a part
    return lease.backing == Backing::Bounce ? Extent{cut.begin, lease.extent.end} : cut_off(lease, end);
  }
  const Extent pages = pages_on_file(lease, b.ask.extent);
  return kind == BreakKind::Destructive && direct && !pages.empty() ? lease.extent : pages;
}

}  // namespace

// Who waits for a lease, or for the rest of one, must not get it while the operation may still be running.
bool Arbiter::State::somebody_waits(const Break& b) {
  if (!has_operation(b.ask.kind) || b.ask.kind == BreakKind::Read) return false;
  const FileQueue& queue = queues.at(b.ask.file);
  return !queue.extends.empty() ||
         std::any_of(queue.grants.begin(), queue.grants.end(),
                     [&](const WaitingGrant& g) { return g.ask.lease.extent.overlaps(b.extent()); });
}

void Arbiter::State::plan(Break& b) {
  // Even where nothing is asked of anybody: the size has to be learned, an extension must wait until it is known, and who asks for a lease
  // of what may be cut off until that has happened.
  b.has_after = somebody_waits(b) || may_shorten(b.ask);
  const FileQueue& queue = queues.at(b.ask.file);
  leases.visit(b.ask.file, b.extent(), [&](LeaseEntry& entry) {
    if (b.ask.only != 0 && b.ask.only != entry.lease.id) return true;
    const BreakKind kind = kind_for(b.ask.kind, b.ask.shortens, entry.lease);
    Row row = row_for(kind, entry.lease, entry.frozen_by != 0);
    Extent extent = asked_extent(b, kind, entry.lease, queue);
    if (extent.empty()) return true;
    // Nobody waits for it: a client that hangs is not fenced for it, and need not be asked. Who only reads owes nothing.
    if (b.ask.periodic && !row.nothing()) row.before = {Action::None, entry.lease.write ? Work::Writeback : Work::None};
    if (entry.overdue > 0) already_out(b, entry, &row, &extent);
    if (!row.nothing() && !extent.empty()) add_part(b, entry, row, extent);
    return true;
  });
}

void Arbiter::State::add_part(Break& b, LeaseEntry& entry, const Row& row, const Extent& extent) {
  if (!row.after.nothing()) {
    b.has_after = true;
    ++entry.open_after;
  }
  if (b.ask.kind == BreakKind::Freeze) entry.frozen_by = b.ask.id;
  b.parts.push_back({entry.lease.id, row, extent});
}

}  // namespace mrlease::core
