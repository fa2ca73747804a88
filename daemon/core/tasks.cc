// SPDX-License-Identifier: Apache-2.0
// Recalls to clients and works of the daemon: sent, answered, overdue.
#include "daemon/core/break_table.h"
#include "daemon/core/extents.h"
#include "daemon/core/state.h"

namespace mrlease::core {

RecallId Arbiter::State::send_recall(LeaseEntry& entry, const RecallRecord& r) {
  const RecallId id = ++last_recall;
  const Terms& terms = terms_of(entry.lease);
  const Time deadline = after(now, terms.recall_deadline);
  RecallRecord& kept = recalls.emplace(id, r).first->second;
  kept.fence_deadline = terms.fence_deadline;
  kept.on_timeout = terms.on_timeout;
  entry.recalls.push_back(id);
  timers.set({Timer::Kind::Recall, id}, deadline);
  out.push_back(effect::Recall{id, r.lease, r.session, r.action, r.kind, r.extent, r.size, deadline, r.break_id});
  return id;
}

void Arbiter::State::recall_part(Break& b, std::size_t part, Action action, std::uint64_t size) {
  Part& p = b.parts[part];
  LeaseEntry& entry = *leases.find(p.lease);
  p.step = Step::Recalled;
  p.recall = send_recall(entry, {.lease = p.lease,
                                 .session = entry.lease.session,
                                 .break_id = b.ask.id,
                                 .part = part,
                                 .action = action,
                                 .kind = b.ask.kind,
                                 .extent = p.extent,
                                 .size = size});
}

void Arbiter::State::start_work(const WorkRecord& record, const Extent& extent) {
  const WorkId id = ++last_work;
  works.emplace(id, record);
  if (LeaseEntry* entry = leases.find(record.lease); entry && trims(record.kind)) ++entry->trims;
  timers.set({Timer::Kind::Work, id}, after(now, policy.work_deadline));
  out.push_back(effect::StartWork{id, record.lease, record.file, record.kind, extent});
}

void Arbiter::State::work_part(Break& b, std::size_t part, Work kind) {
  b.parts[part].step = Step::Working;
  start_work({b.ask.file, b.parts[part].lease, b.ask.id, part, kind}, b.parts[part].extent);
}

void Arbiter::State::forget_recall(RecallId id) {
  timers.cancel({Timer::Kind::Recall, id});
  const auto it = recalls.find(id);
  if (it == recalls.end()) return;
  if (LeaseEntry* entry = leases.find(it->second.lease)) entry->recalls.remove(id);
  recalls.erase(it);
}

void Arbiter::State::recall_answered(const event::RecallAnswered& e) {
  const auto it = recalls.find(e.recall);
  if (it == recalls.end()) {
    return report({}, 0, 0,
                  "session " + std::to_string(e.session) + " answered recall " + std::to_string(e.recall) +
                      ", which is not outstanding; ignored");
  }
  const RecallRecord record = it->second;
  if (record.session != e.session) {
    const Break* b = find_break(record.break_id);
    return report(b ? b->ask.file : FileKey{}, record.lease, record.break_id,
                  "session " + std::to_string(e.session) + " answered a recall of session " +
                      std::to_string(record.session) + "; ignored");
  }
  if (record.late) {
    forget_recall(e.recall);
    return late_answered(record, e.code);
  }
  if (e.code != 0) return recall_failed(e.recall, "the client refused with code " + std::to_string(e.code), true);
  forget_recall(e.recall);
  if (record.break_id != 0) return recall_complied(*find_break(record.break_id), record.part);
  LeaseEntry& entry = *leases.find(record.lease);
  if (!store_comes_back(entry)) resume(std::exchange(entry.waiting, {}));  // syncs
}

void Arbiter::State::recall_expired(RecallId id) {
  recall_failed(id, "the client did not answer within the recall deadline", false);
}

void Arbiter::State::recall_failed(RecallId id, const std::string& why, bool answered) {
  RecallRecord& record = recalls.at(id);
  Break* b = find_break(record.break_id);
  if (!b || b->phase != Phase::Complying || record.on_timeout != OnTimeout::Deny || !b->ask.deniable) {
    // Nor can what follows an operation be denied: a client that does not take its part back is fenced.
    return fence(*leases.find(record.lease), record, why);
  }
  const std::size_t part = record.part;
  report(b->ask.file, record.lease, b->ask.id, why + "; the operation is denied");
  deny(*b);
  if (answered) {
    forget_recall(id);
    close_part(*b, part);
  } else {
    record.late = true;
    b->parts[part].step = Step::Late;
  }
  part_done(*b, part);
}

// An answer after the denial: nobody waits for it, but a client that has complied must be told to undo it.
void Arbiter::State::late_answered(const RecallRecord& record, int code) {
  if (Break* b = find_break(record.break_id)) {
    if (code != 0) return close_part(*b, record.part);
    Part& p = b->parts[record.part];
    p.step = p.row.after.nothing() ? Step::Out : Step::Complied;  // its break has not come to restoring yet
  }
  if (code != 0) return;
  LeaseEntry* entry = leases.find(record.lease);
  if (record.action == Action::Release) return end_lease(*entry, Ending::Revoked);
  if (record.break_id != 0 || record.then == Action::None) return;
  owe_after(*entry, {record.then, record.kind, record.extent, record.size});
}

void Arbiter::State::owe_after(LeaseEntry& entry, const OwedAfter& owed) {
  if (entry.fence != Fence::None) return;  // it is asked for nothing any more: the daemon writes its store
  if (entry.open_after > 0) {  // another break has the lease now; its turn comes when that is over
    owed_after[entry.lease.id].push_back(owed);
    return;
  }
  send_recall(entry, {.lease = entry.lease.id,
                      .session = entry.lease.session,
                      .action = owed.action,
                      .kind = owed.kind,
                      .extent = owed.extent,
                      .size = size_left(entry.lease, owed.size)});
}

void Arbiter::State::work_done(const event::WorkDone& e) {
  const auto it = works.find(e.work);
  if (it == works.end()) return;  // it overran its deadline, that was reported then
  const WorkRecord& w = it->second;
  const Break* b = find_break(w.break_id);
  if (e.code != 0 && !(b && is_answer(*b))) {
    report(w.file, w.lease, w.break_id, "file work failed with code " + std::to_string(e.code));
  }
  work_over(e.work, e.code);
}

// Who asked hears how the work on the file went.
bool Arbiter::State::is_answer(const Break& b) {
  return b.ask.kind == BreakKind::Sync || (b.ask.kind == BreakKind::Freeze && !b.answered);
}

// Who asked for what is to be in the file hears that it is not. A freeze then does not hold: what would stand still is not the
// file that was asked for, and work that has overrun its time may write to it.
void Arbiter::State::not_written(Break& b, int code) {
  if (code == 0 || !is_answer(b)) return;
  if (b.answer == 0) b.answer = code;
  if (b.ask.kind == BreakKind::Freeze) b.denied = true;
}

void Arbiter::State::work_over(WorkId id, int code) {
  const WorkRecord record = works.at(id);
  works.erase(id);
  if (LeaseEntry* entry = leases.find(record.lease); entry && trims(record.kind)) --entry->trims;
  timers.cancel({Timer::Kind::Work, id});
  if (record.break_id == 0) {
    if (LeaseEntry* entry = leases.find(record.lease)) owed_flush_done(*entry, code);
    return;
  }
  Break& b = *find_break(record.break_id);
  not_written(b, code);
  if (b.phase == Phase::Complying) return complied(b, record.part);
  close_part(b, record.part);
  part_done(b, record.part);
}

}  // namespace mrlease::core
