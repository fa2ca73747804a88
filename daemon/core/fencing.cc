// SPDX-License-Identifier: Apache-2.0
// What becomes of a client that does not comply: force by stages, each with its bound; or denial of the operation.
#include <cerrno>

#include "daemon/core/state.h"

namespace mrlease::core {

void Arbiter::State::wait_for(LeaseEntry& entry, Break& b, std::size_t part, Step step) {
  b.parts[part].step = step;
  entry.waiting.push_back({b.ask.id, part});
}

void Arbiter::State::resume(const PartRefs& parts) {
  for (const PartRef& ref : parts) {
    if (Break* b = find_break(ref.break_id)) client_out(*b, ref.part);
  }
}

// The client will not be heard about its recalls any more: the parts wait for the fence, or for the lease's end.
void Arbiter::State::settle_recalls(LeaseEntry& entry, Step waits_as) {
  owed_after.erase(entry.lease.id);  // first: closing a part below would send it
  for (const RecallId id : std::exchange(entry.recalls, {})) {
    const RecallRecord record = recalls.at(id);
    forget_recall(id);
    Break* b = find_break(record.break_id);
    if (!b) continue;
    if (record.late) {
      close_part(*b, record.part);
    } else {
      wait_for(entry, *b, record.part, waits_as);
    }
  }
}

void Arbiter::State::fence(LeaseEntry& entry, const RecallRecord& overdue, const std::string& why) {
  if (entry.fence != Fence::None) return;
  const bool kill = overdue.on_timeout == OnTimeout::Kill;
  report(entry.lease.file, entry.lease.id, 0, why + "; the lease is fenced");
  entry.fence = kill ? Fence::Killing : Fence::Ordered;
  out.push_back(effect::StartFence{entry.lease.id, entry.lease.session, kill});
  entry.fence_deadline = overdue.fence_deadline;
  const Time stage = after(now, entry.fence_deadline);
  timers.set({Timer::Kind::Fence, entry.lease.id}, kill ? after(stage, entry.fence_deadline) : stage);
  settle_recalls(entry, Step::Fenced);
}

void Arbiter::State::fence_expired(LeaseId id) {
  LeaseEntry& entry = *leases.find(id);
  if (entry.fence == Fence::Ordered) {
    report(entry.lease.file, id, 0, "the fence overran its time; the client is killed");
    entry.fence = Fence::Killing;
    out.push_back(effect::StartFence{id, entry.lease.session, true});
    timers.set({Timer::Kind::Fence, id}, after(now, entry.fence_deadline));
    return;
  }
  report(entry.lease.file, id, 0,
         "neither fence nor kill ended in time; foreign operations go on, the device may still reach the range");
  entry.fence = Fence::Overrun;
  out_of_reach(entry);
}

void Arbiter::State::fence_done(const event::FenceDone& e) {
  LeaseEntry* entry = leases.find(e.lease);
  if (!entry || entry->fence == Fence::None || entry->fence == Fence::Done) return;  // it ended meanwhile
  timers.cancel({Timer::Kind::Fence, e.lease});
  const bool retired = entry->retired();
  entry->fence = Fence::Done;
  out.push_back(effect::Fenced{e.lease, entry->lease.session});
  if (!retired) out_of_reach(*entry);
}

// No break asks it for anything any more. What bounce pages hold is owed to the file still, and what a freeze keeps: while that one
// holds, at its thaw (begin_after()).
void Arbiter::State::out_of_reach(LeaseEntry& entry) {
  leases.retire(entry);
  marked.insert(entry.lease.file);
  entry.store_owed = entry.lease.write && entry.frozen_by != 0;
  const Break* freeze = find_break(entry.frozen_by);
  const bool stands_still = freeze && freeze->phase == Phase::Holding;
  if (entry.owes() && !stands_still) return start_owed_flush(entry, true);
  resume(std::exchange(entry.waiting, {}));
}

void Arbiter::State::deny(Break& b) {
  b.denied = true;
  if (!b.answered) answer(b, EBUSY);
}

// A denied break ends without those who are late; what must follow their answers stays with the recall.
void Arbiter::State::detach_late(Break& b) {
  for (std::size_t i = 0; i < b.parts.size(); ++i) {
    const Part& p = b.parts[i];
    if (p.step != Step::Late) continue;
    RecallRecord& record = recalls.at(p.recall);
    record.break_id = 0;
    record.then = p.row.after.action;
    record.size = b.size;
    close_part(b, i);
  }
}

}  // namespace mrlease::core
