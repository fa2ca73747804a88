// SPDX-License-Identifier: Apache-2.0
// How a lease ends: released, revoked, or its session is gone. What it owes the file is flushed first.
#include <algorithm>
#include <cerrno>

#include "daemon/core/state.h"

namespace mrlease::core {

void Arbiter::State::release(const event::ReleaseLease& e) {
  LeaseEntry* entry = leases.find(e.lease);
  const std::string lease = "lease " + std::to_string(e.lease);
  if (!entry) return refuse(e.request, ENOENT, lease + " is not known; it was released or revoked before.");
  if (entry->lease.session != e.session) {
    return refuse(e.request, EPERM, lease + " belongs to another session; release your own.");
  }
  if (entry->releasing) return refuse(e.request, EALREADY, lease + " is being released; wait for the answer.");
  entry->releasing = true;
  entry->release = e.request;
  if (entry->ending == Ending::None) end_lease(*entry, Ending::Released);
}

void Arbiter::State::session_gone(SessionId session) {
  drop_waiting(session);
  for (const LeaseId id : leases.of_session(session)) {
    LeaseEntry& entry = *leases.find(id);
    entry.releasing = false;
    if (entry.ending == Ending::None) {
      end_lease(entry, Ending::Gone);
    } else {
      entry.ending = Ending::Gone;
    }
  }
  std::vector<Break*> owned;
  for (const auto& [id, b] : breaks) {
    if (b->ask.owner == session && session != 0) owned.push_back(b.get());
  }
  for (Break* b : owned) {
    if (b->phase == Phase::Queued) {
      finish(*b);
    } else if (b->ask.kind == BreakKind::Freeze) {
      want_thaw(*b, true);
    }
  }
}

// By a freeze that has it, or by one that was denied and that the client complied with too late.
bool Arbiter::State::has_store(const LeaseEntry& entry) const {
  if (entry.frozen_by != 0) return true;
  const auto owed = owed_after.find(entry.lease.id);
  const auto thaws = [](const auto& x) { return x.action == Action::Thaw; };
  if (owed != owed_after.end() && std::any_of(owed->second.begin(), owed->second.end(), thaws)) return true;
  return std::any_of(entry.recalls.begin(), entry.recalls.end(), [this](RecallId id) {
    const Action action = recalls.at(id).action;
    return action == Action::Thaw || action == Action::Freeze;
  });
}

// After a denial: it complied too late, and has been asked to bring back what it wrote meanwhile.
bool Arbiter::State::store_comes_back(const LeaseEntry& entry) const {
  return std::any_of(entry.recalls.begin(), entry.recalls.end(), [this](RecallId id) {
    const RecallRecord& r = recalls.at(id);
    return r.break_id == 0 && !r.late && (r.action == Action::Settle || r.action == Action::Thaw);
  });
}

// Likewise: it has not answered yet.
bool Arbiter::State::may_be_in_store(const LeaseEntry& entry) const {
  return std::any_of(entry.recalls.begin(), entry.recalls.end(), [this](RecallId id) {
    const RecallRecord& r = recalls.at(id);
    return r.late && (r.action == Action::Trim || r.action == Action::Freeze);
  });
}

// REQUIRES: the client's MRs are gone, so every recall of this lease has got what it wanted.
void Arbiter::State::end_lease(LeaseEntry& entry, Ending why) {
  entry.ending = why;
  entry.store_owed = entry.lease.write && has_store(entry) && (entry.lease.backing != Backing::Bounce || entry.retired());
  if (!entry.retired()) {
    timers.cancel({Timer::Kind::Fence, entry.lease.id});
    entry.fence = Fence::None;
  }
  settle_recalls(entry, Step::Fenced);
  std::vector<PartRef> complied;
  std::vector<PartRef> awaits;  // its end
  std::vector<PartRef> frozen;  // the freeze takes its store over as it is
  for (const PartRef& ref : std::exchange(entry.waiting, {})) {
    Break* b = find_break(ref.break_id);
    if (!b) continue;
    const bool freeze = b->ask.kind == BreakKind::Freeze && entry.store_owed && !entry.retired();
    const bool sync = b->ask.kind == BreakKind::Sync && entry.store_owed && !entry.retired();
    const bool end = b->ask.kind == BreakKind::Revoke || sync || (freeze && b->phase == Phase::Restoring);
    if (end) b->parts[ref.part].step = Step::Ending;
    (end ? awaits : freeze ? frozen : complied).push_back(ref);
  }
  entry.waiting = std::move(awaits);
  const bool awaited = !entry.waiting.empty();
  for (const PartRef& ref : frozen) this->complied(*find_break(ref.break_id), ref.part);
  resume(complied);
  if (entry.last_flush) return;  // the flush after a fence is running: its end is the lease's
  if (entry.retired() ? !entry.store_owed : !entry.owes()) return remove(entry, 0);
  start_owed_flush(entry, awaited);
}

// Not while a break keeps the file still or in somebody's hands: part_closed() comes back to it. A revoke that waits
// for it (at_once) runs at such a time only where policy lets it through a freeze.
void Arbiter::State::start_owed_flush(LeaseEntry& entry, bool at_once) {
  if (entry.last_flush || (!at_once && entry.open_after > 0)) return;
  entry.last_flush = true;
  start_work({entry.lease.file, entry.lease.id, 0, 0, Work::Flush}, entry.lease.extent);
}

void Arbiter::State::await_end(LeaseEntry& entry, Break& b, std::size_t part) {
  wait_for(entry, b, part, Step::Ending);
  start_owed_flush(entry, true);
}

void Arbiter::State::owed_flush_done(LeaseEntry& entry, int code) {
  entry.last_flush = false;
  entry.store_owed = false;
  for (const PartRef& ref : entry.waiting) {
    if (Break* b = find_break(ref.break_id)) not_written(*b, code);
  }
  if (entry.ending != Ending::None) return remove(entry, code);
  resume(std::exchange(entry.waiting, {}));
}

void Arbiter::State::remove(LeaseEntry& entry, int code) {
  const LeaseId id = entry.lease.id;
  const FileKey file = entry.lease.file;
  if (entry.releasing) {
    out.push_back(effect::Released{entry.release, id, entry.retired() ? EKEYREVOKED : code});
  } else {
    out.push_back(effect::Forget{id});
  }
  const PartRefs waiting = std::move(entry.waiting);
  owed_after.erase(id);
  timers.cancel({Timer::Kind::Fence, id});
  leases.erase(id);
  unleased(file);
  resume(waiting);
  marked.insert(file);
}

}  // namespace mrlease::core
