// SPDX-License-Identifier: Apache-2.0
// From the start of a break to its answer: every lease that it touches gets out of the way, all at once.
#include <cerrno>

#include "daemon/core/state.h"

namespace mrlease::core {

void Arbiter::State::start(Break& b) {
  activate(b, Phase::Complying);
  plan(b);
  b.pending = b.parts.size() + 1;  // one for this loop: parts may be done at once
  for (std::size_t i = 0; i < b.parts.size(); ++i) begin_before(b, i);
  if (--b.pending == 0) out_of_the_way(b);
}

void Arbiter::State::begin_before(Break& b, std::size_t part) {
  const Duty duty = b.parts[part].row.before;
  LeaseEntry* entry = leases.find(b.parts[part].lease);
  if (!entry) return client_out(b, part);
  if (b.ask.kind == BreakKind::Revoke && entry->ending != Ending::None) return await_end(*entry, b, part);
  // A flush that runs must not run into the operation, nor into what is to stand still.
  if (entry->ending != Ending::None && entry->last_flush) return await_end(*entry, b, part);
  if (duty.action != Action::None) {
    if (entry->ending != Ending::None) return client_out(b, part);  // nobody is there to be asked and the MRs are gone
    if (entry->fence != Fence::None) return wait_for(*entry, b, part, Step::Fenced);
    return recall_part(b, part, duty.action, b.ask.new_size);
  }
  work_before(b, part);
}

void Arbiter::State::work_before(Break& b, std::size_t part) {
  const Work work = b.parts[part].row.before.work;
  if (work == Work::None) return complied(b, part);
  b.ask.kind == BreakKind::Sync ? sync_lease(b, part) : work_part(b, part, work);
}

// An fsync knows of nothing that lies in a store, so what is on its way from there to the file is waited for.
void Arbiter::State::sync_lease(Break& b, std::size_t part) {
  LeaseEntry& entry = *leases.find(b.parts[part].lease);
  if (entry.fence != Fence::None || store_comes_back(entry)) {
    if (b.ask.periodic) return complied(b, part);  // its turn comes, and a foreign operation may wait for this one
    return wait_for(entry, b, part, Step::Fenced);
  }
  // One that is late, where policy denies, may have moved to its store and not have said so, or never will.
  if (may_be_in_store(entry) && b.answer == 0) b.answer = ETIMEDOUT;
  work_part(b, part, b.parts[part].row.before.work);
}

// The client has answered a recall: well.
void Arbiter::State::recall_complied(Break& b, std::size_t part) {
  if (b.phase == Phase::Restoring) {
    close_part(b, part);
    return part_done(b, part);
  }
  if (b.ask.kind == BreakKind::Revoke) {
    LeaseEntry& entry = *leases.find(b.parts[part].lease);
    wait_for(entry, b, part, Step::Ending);
    return end_lease(entry, Ending::Revoked);
  }
  work_before(b, part);
}

void Arbiter::State::complied(Break& b, std::size_t part) {
  b.parts[part].step = b.parts[part].row.after.nothing() ? Step::Out : Step::Complied;
  part_done(b, part);
}

void Arbiter::State::client_out(Break& b, std::size_t part) {
  if (b.ask.kind == BreakKind::Sync && b.parts[part].lease != 0 && !b.ask.periodic) {
    const LeaseEntry* entry = leases.find(b.parts[part].lease);
    // Its pages are pinned still, and not dirty, or its store is not in the file: neither is among what fsync writes.
    if (entry && entry->fence == Fence::Overrun && b.answer == 0) b.answer = ETIMEDOUT;
    // The destroyed registration has just handed its dirty pages to the file, or its store is there: an fsync, but of no lease.
    b.parts[part].lease = 0;
    return work_part(b, part, Work::Fsync);
  }
  close_part(b, part);
  part_done(b, part);
}

void Arbiter::State::part_done(Break& b, std::size_t) {
  if (--b.pending > 0) return;
  b.phase == Phase::Complying ? out_of_the_way(b) : restored(b);
}

// No lease is there to be synced, or each is frozen: the file itself is.
void Arbiter::State::bare_fsync(Break& b) {
  b.parts.push_back({0, row(BreakKind::Sync, Backing::Bounce), b.ask.extent});
  b.pending = 1;
  work_part(b, b.parts.size() - 1, Work::Fsync);
}

void Arbiter::State::out_of_the_way(Break& b) {
  if (b.ask.kind == BreakKind::Sync && !b.ask.periodic) {
    if (b.parts.empty()) return bare_fsync(b);
    tell_unwritten(b);
  }
  if (!b.answered) answer(b, b.answer);
  if (b.ask.kind == BreakKind::Freeze) return b.denied ? restore(b) : hold(b);
  if (!has_operation(b.ask.kind) || !b.has_after) {
    detach_late(b);
    return finish(b);
  }
  b.phase = Phase::Passing;
  if (b.left) return restore(b);
  out.push_back(effect::WatchPassing{b.ask.id});
  timers.set({Timer::Kind::Passing, b.ask.id}, after(now, policy.passing_bound));
}

}  // namespace mrlease::core
