// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/auditor.h"

#include <algorithm>
#include <cerrno>

#include "tests/sim/world.h"

namespace mrlease::sim {

namespace effect = core::effect;
namespace event = core::event;
using core::Action;
using core::Backing;
using core::BreakKind;

namespace {

bool has_operation(BreakKind kind) { return kind <= BreakKind::Read; }
std::string lease_name(core::LeaseId id) { return "lease " + std::to_string(id); }

core::Extent pages(const core::Extent& e) {
  return {e.begin / kPage * kPage, e.end > core::kToEnd - kPage ? core::kToEnd : (e.end + kPage - 1) / kPage * kPage};
}

}  // namespace

core::Extent span(const event::RequestBreak& b) {
  return b.kind == BreakKind::Truncate ? core::Extent{b.new_size, core::kToEnd} : b.extent;
}

Auditor::Auditor(World& world) : w_(world), most_(world.shape.policy), may_deny_(most_.on_timeout == core::OnTimeout::Deny) {}

void Auditor::reloaded(const core::Policy& p) {
  most_.recall_deadline = std::max(most_.recall_deadline, p.recall_deadline);
  most_.fence_deadline = std::max(most_.fence_deadline, p.fence_deadline);
  most_.passing_bound = std::max(most_.passing_bound, p.passing_bound);
  may_deny_ |= p.on_timeout == core::OnTimeout::Deny;
  hold_anew(w_.clock.now());
}

Auditor::LeaseView* Auditor::lease(core::LeaseId id) {
  const auto it = leases_.find(id);
  return it == leases_.end() ? nullptr : &it->second;
}

std::vector<core::RecallId> Auditor::outstanding_of_others(core::SessionId session) const {
  std::vector<core::RecallId> ids;
  for (const auto& [id, r] : recalls_)
    if (r.session != session) ids.push_back(id);
  return ids;
}

void Auditor::before(const core::Event& e, Time now) {
  ++steps_;
  if (const auto* x = std::get_if<event::RequestLease>(&e)) requests_[x->request] = x->lease;
  if (const auto* x = std::get_if<event::RequestBreak>(&e)) requested(*x, now);
  if (const auto* x = std::get_if<event::AdoptBreak>(&e)) adopted(*x, now);
  if (const auto* x = std::get_if<event::AdoptPassing>(&e)) inherited(*x, now);
  if (const auto* x = std::get_if<event::SessionGone>(&e)) gone(x->session, now);
  if (const auto* x = std::get_if<event::AdoptLease>(&e)) {
    LeaseView* v = lease(x->lease.id);
    if (v == nullptr) return complain("P7: the successor has " + lease_name(x->lease.id) + ", which nobody was granted");
    *v = {v->lease, core::kNever, false, false, true, v->let_go_past};
  }
  if (const auto* x = std::get_if<event::ReleaseLease>(&e)) {
    if (LeaseView* v = lease(x->lease); v != nullptr && v->lease.session == x->session) v->ending = true;
  }
  if (const auto* x = std::get_if<event::RecallAnswered>(&e)) {
    const auto it = recalls_.find(x->recall);
    if (it == recalls_.end()) return;
    if (it->second.session != x->session) return coverage_.happened("a client that answers for another");
    if (LeaseView* v = lease(it->second.lease); v != nullptr && it->second.action == Action::Release && x->code == 0) v->ending = true;
    recalls_.erase(it);
  }
  if (const auto* x = std::get_if<event::Thaw>(&e)) {
    const auto it = breaks_.find(x->freeze);
    if (it == breaks_.end()) return;
    it->second.thaw_asked = true;
    thaws(it->second, now);
  }
  if (const auto* x = std::get_if<event::OperationLeft>(&e)) {
    if (w_.foreign.inside(x->id)) complain("P1: break " + std::to_string(x->id) + " is said to have left, and is inside");
    if (const auto it = breaks_.find(x->id); it != breaks_.end()) {
      BreakView& b = it->second;
      if (b.passing && now > b.passing_since + most_.passing_bound) coverage_.happened("an operation that outran its bound");
      b.left = true;
      moved(it->second.ask.file, now);
    }
  }
}

void Auditor::requested(const event::RequestBreak& e, Time now) {
  BreakView& b = breaks_[e.id];
  b.ask = e;
  b.asked_at = now;
  if (e.periodic) coverage_.happened("a sync that nobody asked for");
  b.stamps = w_.stamps;
  std::vector<core::BreakId>& line = line_[e.file];
  const bool waits = std::any_of(line.begin(), line.end(), [&](core::BreakId id) { return breaks_[id].answers == 0; });
  line.push_back(e.id);
  for (const core::BreakId id : line) breaks_[id].alone &= line.size() == 1;
  if (!waits) moved(e.file, now);
  in_line(e.id, now);
  for (const core::BreakId id : line) {  // policy may let it end a freeze, or run through it
    BreakView& f = breaks_[id];
    if (f.ask.kind == BreakKind::Freeze && id != e.id && may_end(f, e)) thaws(f, now);
  }
}

// A read and policy's sync end no freeze, nor does what lies beside it; others concern a lease as a whole. Where operations may run through
// one, other freezes and syncs wait all the same.
bool Auditor::may_end(const BreakView& freeze, const event::RequestBreak& e) const {
  const core::FreezeConflict conflict = w_.shape.policy.freeze_conflict;
  if (conflict == core::FreezeConflict::Wait || e.kind == BreakKind::Read || e.periodic) return false;
  if (conflict == core::FreezeConflict::Allow && (e.kind == BreakKind::Sync || e.kind == BreakKind::Freeze)) return false;
  return !has_operation(e.kind) || freeze.ask.extent.overlaps(span(e));
}

void Auditor::adopted(const event::AdoptBreak& e, Time now) {
  BreakView& b = breaks_[e.id];
  const Time firm = b.firm_until;
  b.ask = {e.id, e.file, e.kind, e.extent, e.file_size, e.hold, e.owner};
  b.ask.shortens = e.kind == BreakKind::Destructive;  // it may have
  b.asked_at = now;
  b.answers = 1;
  b.left = b.adopted = true;
  const bool holds = e.kind == BreakKind::Freeze && e.hold > 0;
  b.holds_until = holds ? now + std::min(e.hold, w_.shape.policy.freeze_hold_max) : 0;
  b.firm_until = std::min(firm, b.holds_until);
  coverage_.happened(holds ? "a freeze taken over" : "a second half taken over");
  line_[e.file].push_back(e.id);
  moved(e.file, now);
}

void Auditor::inherited(const event::AdoptPassing& e, Time now) {
  BreakView& b = breaks_[e.id];
  b.ask = {e.id, e.file, BreakKind::Truncate, {}};
  b.asked_at = now;
  b.answers = 1;
  b.passing = b.adopted = b.inherited = true;
  b.passing_since = now > most_.passing_bound ? now - most_.passing_bound : 0;
  coverage_.happened("an operation of a predecessor's inside");
  line_[e.file].push_back(e.id);
  moved(e.file, now);
}

void Auditor::gone(core::SessionId session, Time now) {
  coverage_.happened("a session that went");
  for (auto& [id, v] : leases_) {
    if (v.lease.session != session) continue;
    v.ending = true;
    const auto it = w_.regions.find(id);
    const bool overrun = v.fence_began != core::kNever && now >= v.fence_began + 2 * w_.shape.policy.fence_deadline;
    // Bounce memory is its client's own: what a peer writes there comes to the file by him who lives. What the daemon knows of, it destroys.
    const bool own = it != w_.regions.end() && it->second->backing == Backing::Bounce && w_.daemon.lives(session) && !w_.daemon.knows_mrs(id);
    const bool reaches = it != w_.regions.end() && it->second->mr && it->second->mr->alive && it->second->usable && !own;
    if (reaches && !overrun)
      complain("P7: a session has gone, and its device still reaches " + lease_name(id));
  }
  for (auto& [id, b] : breaks_) {
    if (b.ask.owner != session) continue;
    b.dropped = true;
    thaws(b, now);
  }
}

void Auditor::after(const core::Event& e, const core::Effects& effects, Time now) {
  const bool refused = std::holds_alternative<event::RequestBreak>(e);
  for (const core::Effect& x : effects) std::visit([&](const auto& y) { on(y, now); }, x);
  if (refused && !effects.empty()) {
    const auto* a = std::get_if<effect::BreakAnswered>(&effects.front());
    if (a != nullptr && a->deny_errno == EDQUOT) coverage_.happened("a refusal by a user's limit");
  }
  check_inside();
  check_waits(now);
}

void Auditor::on(const effect::Granted& e, Time) {
  const core::Lease fresh = requests_[e.request];
  const auto user = [&](core::SessionId s) { return w_.user_of(s); };
  if (w_.foreign.inherited(fresh.file)) complain("P1: " + lease_name(fresh.id) + " is granted under an operation that a predecessor had allowed");
  unsigned charged = 1;
  for (const auto& [id, v] : leases_) charged += user(v.lease.session) == user(fresh.session) && !v.fenced;
  if (!w_.shape.crowd && charged > w_.shape.leases_of_user) complain("P8: a user has more leases than the limit");
  for (const core::LeaseId id : of_file_[fresh.file]) {
    const LeaseView& v = leases_[id];
    const core::Lease& o = v.lease;
    if (v.fenced || v.fence_began != core::kNever || !o.extent.overlaps(fresh.extent)) continue;
    if ((o.write || fresh.write) && !(o.share && fresh.share)) complain("P8: " + lease_name(fresh.id) + " conflicts with " + lease_name(id));
  }
  for (const core::BreakId id : line_[fresh.file]) {
    const BreakView& b = breaks_[id];
    const bool inside = has_operation(b.ask.kind) && b.ask.kind != BreakKind::Read && b.passing && !b.left && b.code == 0;
    if (inside && span(b.ask).overlaps(fresh.extent)) complain("P1: " + lease_name(fresh.id) + " is granted under an operation that is inside");
  }
  leases_[e.lease] = {fresh};
  if (leases_.size() == 1000) coverage_.happened("a thousand leases at once");
  // One that comes back: from now on, also where its client never hears of the grant.
  if (const auto r = w_.regions.find(e.lease); r != w_.regions.end()) excuse_alike(r->second->lease, e.lease);
  of_file_[fresh.file].insert(e.lease);
}

void Auditor::on(const effect::Recall& e, Time now) {
  recalls_[e.recall] = e;
  LeaseView* v = lease(e.lease);
  if (v == nullptr) return complain("a recall of a lease that nobody has");
  if (e.session != v->lease.session) complain("P8: a recall to a stranger");
  if (v->fenced) complain("a recall of a fenced lease");
  const auto it = breaks_.find(e.break_id);
  const bool shortens = it != breaks_.end() && it->second.ask.shortens;
  const bool in_table = coverage_.recalled({e.reason, shortens}, v->lease.backing, e.action);
  if (it == breaks_.end()) return;
  BreakView& b = it->second;
  if (!in_table && b.alone) complain("break table: this recall is in no row of it");
  b.recalled.insert(e.lease);
  if (e.action == Action::Thaw) {
    if (now < b.firm_until) complain("P5: break " + std::to_string(e.break_id) + " thaws before its time");
    thaws(b, now);
  }
  if (e.action != Action::Reregister && e.action != Action::Settle && e.action != Action::Thaw) return;
  for (const core::BreakId id : line_[b.ask.file]) {
    const BreakView& o = breaks_[id];
    // Of an inherited one nobody knows what it has got out of its way.
    if (o.inherited && !o.left) complain("P1: " + lease_name(e.lease) + " comes back while the predecessor's break " + std::to_string(id) + " is inside");
    if (e.action == Action::Thaw) continue;
    const bool destroys = o.ask.kind == BreakKind::Destructive && (o.ask.shortens || v->lease.backing == Backing::Direct);
    const bool removes = o.ask.kind == BreakKind::Truncate || destroys;
    const bool inside = removes && o.passing && !o.left && o.recalled.count(e.lease) != 0;
    if (inside) complain("P1: " + lease_name(e.lease) + " comes back while break " + std::to_string(id) + " is inside");
  }
}

void Auditor::on(const effect::StartWork& e, Time) {
  LeaseView* v = lease(e.lease);
  if (v == nullptr) {
    if (e.lease != 0) complain("work for a lease that nobody has");
    return;
  }
  // Which break it is for is not said; where there is one only, it is known.
  const BreakView* only = nullptr;
  std::size_t candidates = 0;
  for (const core::BreakId id : line_[e.file]) {
    BreakView& b = breaks_[id];
    if (b.ask.kind == BreakKind::Freeze && b.answers > 0 && b.firm_until > w_.clock.now()) continue;
    ++candidates;
    only = &b;
    b.worked.insert(e.lease);
    if (e.kind == core::Work::Writeback && b.ask.periodic) b.written_back.insert(e.lease);
  }
  const bool last = v->ending || v->fence_began != core::kNever;
  if (candidates == 1 && !last && !only->adopted && only->alone && !coverage_.worked({only->ask.kind, only->ask.shortens}, v->lease.backing, e.kind))
    complain("break table: this work is in no row of it");
  if (candidates == 1 && v->ending && only->ask.kind == BreakKind::Revoke) coverage_.worked({BreakKind::Revoke}, v->lease.backing, e.kind);
}

void Auditor::on(const effect::StartFence& e, Time now) {
  LeaseView* v = lease(e.lease);
  if (v == nullptr) return complain("a fence of a lease that nobody has");
  coverage_.happened(e.kill ? "a kill" : "a fence");
  if (v->fence_began == core::kNever) v->fence_began = now;
  else if (now < v->fence_began + most_.fence_deadline / 100) complain("a lease is fenced twice");
  if (w_.loses_by_fence(e.lease)) forgive(e.lease);
  const auto r = w_.regions.find(e.lease);
  const bool given_up = r != w_.regions.end() && (r->second->fenced || r->second->gone);
  if (w_.means_well(v->lease.session) && !given_up) complain("P2: " + lease_name(e.lease) + " is fenced, and its client complies in time");
}

void Auditor::on(const effect::BreakAnswered& e, Time now) {
  const auto it = breaks_.find(e.id);
  if (it == breaks_.end()) return complain("an answer to what nobody has asked");
  BreakView& b = it->second;
  if (++b.answers > 1) complain("break " + std::to_string(e.id) + " is answered twice");
  b.code = e.deny_errno;
  b.answered_as = ++answers_;
  if (b.ask.kind == BreakKind::Write) answered_[e.id] = answers_;
  const bool foreign = has_operation(b.ask.kind);
  if (foreign && b.code != 0 && !(may_deny_ && b.ask.deniable)) complain("P2: break " + std::to_string(e.id) + " is denied against policy");
  if (b.code != 0) coverage_.happened(foreign ? "a denial" : "a refusal of the API");
  check_order(b);
  moved(b.ask.file, now);
  if (b.code != 0) return;
  check_stillness(b, now);
  for (const core::LeaseId id : of_file_[b.ask.file]) {
    const LeaseView& v = leases_[id];
    const bool overlaps = pages(span(b.ask)).overlaps(v.lease.extent);
    if (overlaps && b.recalled.count(id) == 0 && b.worked.count(id) == 0) coverage_.nothing_asked({b.ask.kind, b.ask.shortens}, v.lease.backing);
  }
  if (b.ask.kind == BreakKind::Freeze) {
    coverage_.happened("a freeze that held");
    const Time max = w_.shape.policy.freeze_hold_max;
    const Time until = now + (b.ask.hold == 0 ? max : std::min(b.ask.hold, max));
    b.holds_until = until;
    const auto& line = line_[b.ask.file];
    const bool yields = std::any_of(line.begin(), line.end(), [&](core::BreakId id) { return id != e.id && may_end(b, breaks_[id].ask); });
    b.firm_until = !b.thaw_asked && !b.dropped && !yields ? until : now;
  }
  if (b.ask.kind == BreakKind::Sync) check_durable(b);
}

void Auditor::on(const effect::WatchPassing& e, Time now) {
  BreakView& b = breaks_[e.id];
  b.passing = true;
  b.passing_since = now;
  if (b.ask.kind == BreakKind::Truncate || b.ask.kind == BreakKind::Destructive) inside_.insert(e.id);
  moved(b.ask.file, now);
}

void Auditor::on(const effect::BreakDone& e, Time now) {
  const auto it = breaks_.find(e.id);
  if (it == breaks_.end()) return complain("an end of what nobody has asked");
  const BreakView b = it->second;
  if (b.answers == 0 && !b.dropped) complain("break " + std::to_string(e.id) + " ends without an answer");
  if (now < b.firm_until) complain("P5: freeze " + std::to_string(e.id) + " ends before its time");
  if (b.passing && !b.left) complain("break " + std::to_string(e.id) + " ends while its operation is inside");
  std::erase(line_[b.ask.file], e.id);
  breaks_.erase(it);
  moved(b.ask.file, now);
}

void Auditor::on(const effect::Thawed& e, Time now) {
  coverage_.happened(e.request == 0 ? "a hold that passed" : "a thaw on request");
  if (const auto it = breaks_.find(e.freeze); it != breaks_.end()) {
    if (now < it->second.firm_until) complain("P5: freeze " + std::to_string(e.freeze) + " is said to be thawed before its time");
    moved(it->second.ask.file, now);
  }
}

void Auditor::on(const effect::Refused& e, Time) { requests_.erase(e.request); }

void Auditor::over(core::LeaseId id) {
  forgive_overrun();
  const auto it = leases_.find(id);
  if (it == leases_.end()) return complain("an end of a lease that nobody has");
  of_file_[it->second.lease.file].erase(id);
  const auto r = w_.regions.find(id);
  // Bounce memory is the client's own. Another's number: it asks to have that lease back.
  const bool its = r != w_.regions.end() && r->second->lease == id && r->second->backing != Backing::Bounce;
  const bool reaches = its && r->second->mr && r->second->mr->alive && r->second->usable;
  if (reaches && !overruns(it->second) && lost_leases_.count(id) == 0)
    complain("P7: " + lease_name(id) + " is forgotten, and its device still reaches the file");
  leases_.erase(it);
  w_.regions.erase(id);
}

}  // namespace mrlease::sim
