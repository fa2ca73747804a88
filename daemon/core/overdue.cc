// SPDX-License-Identifier: Apache-2.0
// An allowed operation that does not leave within policy.passing_bound: perhaps it never will. It steps out of the
// line, so that others no longer wait for it. What it has got out of its way stays out of the way until it has left: whatever a
// later break would give back to such a lease is handed over to it.
#include <algorithm>

#include "daemon/core/state.h"

namespace mrlease::core {
namespace {

// Of an operation that makes the file shorter a flush would bring the old end back. Of another one that only writes it may run beside it.
bool holds_flush(const Break& b, const Duty& after) {
  return after.work == Work::ResumeFlush || (after.work == Work::Merge && b.ask.shortens);
}

// What puts a device, or a flush, back onto the file.
bool reaches_file(const Break& b, const Duty& after) {
  return after.action == Action::Reregister || after.action == Action::Settle || holds_flush(b, after);
}

// By its own, or by what was handed over to it: something of a lease is kept from the file until it has left.
bool holds_back(const Break& b) {
  return std::any_of(b.parts.begin(), b.parts.end(),
                     [&b](const Part& p) { return p.step == Step::Complied && reaches_file(b, p.row.after); });
}

// One that a predecessor had allowed: what it has got out of its way nobody knows, so it may be anything.
Break* inherited(const FileQueue& queue) {
  const auto it = std::find_if(queue.overdue.begin(), queue.overdue.end(), [](const Break* b) { return b->adopted; });
  return it == queue.overdue.end() ? nullptr : *it;
}

// Only a Settle is of a part of the lease.
bool gives_the_same(const Part& a, const Row& row, const Extent& extent) {
  return a.step == Step::Complied && a.row.after == row.after &&
         (row.after.action != Action::Settle || a.extent == extent);
}

}  // namespace

void Arbiter::State::passing_expired(Break& b) {
  report(b.ask.file, 0, b.ask.id, "the allowed operation is still running; its range stays revoked");
  deactivate(b);
  queues.at(b.ask.file).overdue.push_back(&b);
  for (std::size_t i = 0; i < b.parts.size(); ++i) {
    b.by_lease.emplace(b.parts[i].lease, i);
    if (LeaseEntry* entry = leases.find(b.parts[i].lease)) ++entry->overdue;
  }
  marked.insert(b.ask.file);
}

// One that has left in the meantime gets its turn: the line is free. False: there is none.
bool Arbiter::State::restore_overdue(FileQueue& queue) {
  const auto it = std::find_if(queue.overdue.begin(), queue.overdue.end(), [](const Break* b) { return b->left; });
  if (it == queue.overdue.end()) return false;
  Break& b = **it;
  queue.overdue.erase(it);
  for (const Part& p : b.parts) {
    if (LeaseEntry* entry = leases.find(p.lease)) --entry->overdue;
  }
  restore(b);
  return true;
}

// What is asked for through the API needs a lease in a way that it cannot be had now, and nobody knows until when: a
// freeze would not stand still, a revoke could not write what is owed, a sync would claim what is not in the file.
bool Arbiter::State::in_overdue_hands(const FileQueue& queue, const Break& b) {
  if (queue.overdue.empty() || has_operation(b.ask.kind)) return false;
  // It would wait for a thaw that waits for such an operation.
  if (std::any_of(queue.frozen.begin(), queue.frozen.end(),
                  [&](const Break* f) { return f->thaw_wanted && kept_from_thawing(*f) && conflicts_with(*f, b); })) {
    return true;
  }
  const bool sync = b.ask.kind == BreakKind::Sync;
  const bool any = std::any_of(queue.overdue.begin(), queue.overdue.end(), [&](const Break* o) {
    return !sync || o->ask.kind != BreakKind::Write || holds_back(*o);  // a foreign write itself holds nothing back
  });
  if (!any) return false;
  if (b.ask.kind == BreakKind::Freeze &&
      std::any_of(queue.overdue.begin(), queue.overdue.end(),
                  [&](const Break* o) { return o->extent().overlaps(b.extent()); })) {
    return true;
  }
  // Of a lease that could not be revoked under what a predecessor had allowed, part may be out of the way, and not in the file.
  const bool perhaps = sync && inherited(queue) != nullptr;
  bool shares = false;
  leases.visit(b.ask.file, b.extent(), [&](const LeaseEntry& e) { return !(shares = perhaps || e.overdue > 0); });
  return shares;
}

// A thaw would bring the device, or a flush, back under the operation.
bool Arbiter::State::kept_from_thawing(const Break& freeze) {
  if (inherited(queues.at(freeze.ask.file)) != nullptr) return true;
  return std::any_of(freeze.parts.begin(), freeze.parts.end(), [this](const Part& p) {
    const LeaseEntry* entry = leases.find(p.lease);
    return entry && entry->overdue > 0;
  });
}

void Arbiter::State::hand_over(Break& b) {
  const FileQueue& queue = queues.at(b.ask.file);
  if (queue.overdue.empty()) return;
  Break* const any = inherited(queue);
  // A merge is done beside what only writes. Under what makes the file shorter it would be for nothing.
  const auto can_have = [](const Part& p, const Break& o) { return p.row.after.work != Work::Merge || holds_back(o); };
  for (std::size_t i = 0; i < b.parts.size(); ++i) {
    const Part p = b.parts[i];
    LeaseEntry* entry = leases.find(p.lease);
    if (p.step != Step::Complied || !reaches_file(b, p.row.after) || !entry || (entry->overdue == 0 && any == nullptr)) continue;
    Break* heir = any;
    bool given = false;
    for (Break* o : queue.overdue) {
      if (!can_have(p, *o)) continue;
      const auto [first, last] = o->by_lease.equal_range(p.lease);
      for (auto it = first; it != last; ++it) {
        heir = o;
        given = given || gives_the_same(o->parts[it->second], p.row, p.extent);
      }
    }
    if (given) {
      close_part(b, i);
    } else if (heir) {
      heir->by_lease.emplace(p.lease, heir->parts.size());
      heir->parts.push_back(p);
      ++entry->overdue;
      b.parts[i].step = Step::Out;
    }
  }
}

// A lease that an overdue operation has is out of the way already, or in part. Whoever of the two is over last gives it
// back, so the new break gets the same to give (hand_over() sees to it that it is given once), and asks for the rest.
void Arbiter::State::already_out(Break& b, LeaseEntry& entry, Row* row, Extent* extent) {
  for (const Break* o : queues.at(b.ask.file).overdue) {
    const auto [first, last] = o->by_lease.equal_range(entry.lease.id);
    for (auto it = first; it != last; ++it) {
      const Part& p = o->parts[it->second];
      if (p.step != Step::Complied) continue;
      if (holds_flush(*o, p.row.after)) {
        // Its flush is held: a write or a read finds the file as it is, as under a freeze.
        row->before = {};
      } else if (p.row.after.action == Action::Reregister) {
        row->before = {};
      } else if (p.row.after.action == Action::Settle && row->after.action == Action::Settle) {
        bool known = false;  // a lease's parts are added one after the other
        for (auto mine = b.parts.rbegin(); mine != b.parts.rend() && mine->lease == p.lease; ++mine) {
          known = known || mine->extent == p.extent;
        }
        if (!known) add_part(b, entry, {{}, p.row.after}, p.extent);
        extent->end = std::min(extent->end, p.extent.begin);
      }
    }
  }
}

}  // namespace mrlease::core
