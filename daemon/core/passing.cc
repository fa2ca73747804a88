// SPDX-License-Identifier: Apache-2.0
// From the answer to the end: an allowed operation may still run, or fail. Only when it has left is the file's size
// true, and only then do leases get back what they can have.
#include <algorithm>

#include "daemon/core/extents.h"
#include "daemon/core/state.h"

namespace mrlease::core {

void Arbiter::State::operation_left(const event::OperationLeft& e) {
  Break* b = find_break(e.id);
  if (!b || !has_operation(b->ask.kind) || b->left) return;
  b->left = true;
  b->size = e.file_size;
  FileQueue& queue = queues.at(b->ask.file);
  for (Break* o : queue.overdue) {
    if (o->left) o->size = e.file_size;  // those that have still to be restored tell the newest size
  }
  // Before the answer: the task was killed while it was held. The leases still go the whole way and back.
  if (b->phase != Phase::Passing) return;
  if (std::find(queue.overdue.begin(), queue.overdue.end(), b) == queue.overdue.end()) return restore(*b);
  cut_leases(*b);  // at once: by its turn to be restored, somebody may have made the file longer
  marked.insert(b->ask.file);
}

// on_file_end only shrinks here. A truncate that failed leaves a size that cuts nothing.
void Arbiter::State::cut_leases(Break& b) {
  const auto cut = [&](Lease& lease) {
    lease.on_file_end = std::min(lease.on_file_end, std::max(b.size, lease.extent.begin));
  };
  if (b.ask.kind == BreakKind::Truncate && b.adopted) {
    // Nobody else hears of the new end, and who does not know of it is still to be got out of the next truncate's way.
    for (const Part& part : b.parts)
      if (LeaseEntry* entry = leases.find(part.lease)) cut(entry->lease);
  } else if (b.ask.kind == BreakKind::Truncate) {
    leases.visit(b.ask.file, b.extent(), [&](LeaseEntry& entry) {
      if (entry.lease.on_file_end > b.ask.new_size) cut(entry.lease);
      return true;
    });
  } else if (b.ask.kind == BreakKind::Destructive) {  // it may have shrunk the file; what comes back must fit
    for (const Part& part : b.parts) {
      LeaseEntry* entry = leases.find(part.lease);
      const Duty& after = part.row.after;
      const bool back = after.action == Action::Reregister || after.action == Action::Settle || after.work == Work::Merge;
      if (entry && back) cut(entry->lease);
    }
  }
  if (b.adopted || !may_shorten(b.ask)) return;
  // Fenced, so out of the index; what their stores hold is to come to the file yet.
  for (const Break* freeze : queues.at(b.ask.file).frozen)
    for (const Part& part : freeze->parts)
      if (LeaseEntry* entry = leases.find(part.lease); entry && entry->retired()) cut(entry->lease);
}

void Arbiter::State::restore(Break& b) {
  timers.cancel({Timer::Kind::Passing, b.ask.id});
  activate(b, Phase::Restoring);
  if (b.left) {
    cut_leases(b);
    FileQueue& queue = queues.at(b.ask.file);
    for (WaitingGrant& g : queue.grants) g.size = b.size;
    for (WaitingExtend& w : queue.extends) w.ask.file_size = b.size;
  }
  detach_late(b);
  hand_over(b);
  b.pending = 1;
  for (std::size_t i = 0; i < b.parts.size(); ++i) {
    if (b.parts[i].step != Step::Complied) continue;
    ++b.pending;
    begin_after(b, i);
  }
  if (--b.pending == 0) restored(b);
}

void Arbiter::State::begin_after(Break& b, std::size_t part) {
  const Duty duty = b.parts[part].row.after;
  LeaseEntry* entry = leases.find(b.parts[part].lease);
  if (entry && entry->retired() && entry->store_owed) return await_end(*entry, b, part);  // its store is written to the file first
  if (!entry || entry->retired()) return client_out(b, part);
  if (duty.action == Action::None) return work_part(b, part, duty.work);
  if (entry->ending != Ending::None) {
    // Nobody is there to be asked. The daemon merges what the freeze had kept aside, and the thaw is over after that.
    return b.ask.kind == BreakKind::Freeze && entry->owes() ? await_end(*entry, b, part) : client_out(b, part);
  }
  if (entry->fence != Fence::None) return wait_for(*entry, b, part, Step::Fenced);
  recall_part(b, part, duty.action, size_left(entry->lease, b.size));
}

void Arbiter::State::restored(Break& b) {
  if (b.ask.kind == BreakKind::Freeze && !b.denied) thawed(b);
  finish(b);
}

void Arbiter::State::close_part(Break& b, std::size_t part) {
  Part& p = b.parts[part];
  if (p.step == Step::Out) return;
  p.step = Step::Out;
  LeaseEntry* entry = leases.find(p.lease);
  if (!entry || p.row.after.nothing()) return;
  if (entry->frozen_by == b.ask.id) entry->frozen_by = 0;
  if (entry->open_after > 0 && --entry->open_after == 0) part_closed(*entry);
}

// No break owes the lease anything any more: what had to wait for that.
void Arbiter::State::part_closed(LeaseEntry& entry) {
  if (entry.ending != Ending::None && entry.owes() && !entry.retired()) return start_owed_flush(entry, true);
  const auto it = owed_after.find(entry.lease.id);
  if (it == owed_after.end()) return;
  const std::vector<OwedAfter> owed = std::move(it->second);
  owed_after.erase(it);
  for (const OwedAfter& o : owed) owe_after(entry, o);
}

}  // namespace mrlease::core
