// SPDX-License-Identifier: Apache-2.0
// The arbiter's effects, as daemon/session/effects.cc carries them out.
#include <algorithm>

#include "daemon/guard/guard.h"
#include "daemon/session/translate.h"
#include "tests/sim/world.h"

namespace mrlease::sim {

namespace effect = core::effect;
using core::Action;
using core::BreakKind;
using wire::Frame;

void Daemon::step(core::Event event) {
  events_.push_back(std::move(event));
  if (stepping_ || !up_) return;
  stepping_ = true;
  while (!events_.empty()) {
    const core::Event next = std::move(events_.front());
    events_.pop_front();
    w_.auditor.before(next, w_.clock.now());
    core::Effects effects = arbiter_->step(w_.plant.twist(next), w_.clock.now());
    w_.plant.spoil(next, effects, *this);
    passing_.clear();
    for (const auto& e : effects)
      if (const auto* p = std::get_if<effect::WatchPassing>(&e)) passing_.insert(p->id);
    w_.note(next, effects);
    w_.auditor.after(next, effects, w_.clock.now());
    publish();
    for (const auto& e : effects) std::visit([this](const auto& x) { apply(x); }, e);
    if (w_.plant.is("flush what is frozen"))
      for (const auto& [id, hold] : holds_)
        if (hold->bounce) flush(*hold);
  }
  stepping_ = false;
  arm();
  for (auto it = put_off_.rbegin(); it != put_off_.rend(); ++it) {
    const auto same = [&](const auto& b) { return b.second == it->file; };
    if (std::any_of(guard_breaks_.begin(), guard_breaks_.end(), same)) continue;
    const guard::ForeignOp op = *it;
    put_off_.erase(std::next(it).base());
    return held(op);
  }
}

// The guard learns first: a client must not hold a lease that the guard would let operations through for.
void Daemon::publish() {
  if (w_.plant.is("do not tell the guard")) return;
  for (const File& f : w_.files) {
    published_[f.key] = arbiter_->needs(f.key);
    if (w_.plant.is("do not tell the guard of reads")) published_[f.key].read = false;
  }
}

void Daemon::arm() {
  const Time next = arbiter_->next_deadline();
  if (w_.plant.is("no timer")) return;
  if (next == armed_ || next == core::kNever) return;
  armed_ = next;
  w_.clock.at(next, [this, next, life = starts_] {
    if (!up_ || starts_ != life || armed_ != next) return;
    armed_ = core::kNever;
    step(core::event::Tick{});
  });
}

void Daemon::apply(const effect::Granted& e) {
  requests_.erase(e.request);
  const HoldPtr hold = find(e.lease);
  if (!hold) return;
  const bool nothing_left = hold->reclaimed && hold->size_told <= std::max<u64>(hold->extent.begin, 1);
  if (hold->file->size < hold->size_told && !nothing_left) {  // it may have shrunk between the check and the guard's watch
    status(hold->session, hold->request, hold->reclaimed ? EAGAIN : ERANGE);
    return step(core::event::ReleaseLease{0, hold->id, hold->session});
  }
  hold->kept = true;
  if (hold->backing == core::Backing::Bounce && !hold->bounce) hold->bounce = std::make_shared<Pages>();
  if (hold->reclaimed) {
    w_.auditor.coverage().happened("a lease reclaimed");
    w_.auditor.cut_off(hold->id, hold->file->key, hold->end_reclaimed);
    if (hold->bounce) hold->bounce->end = hold->end_reclaimed;
  }
  Frame answer;
  auto& g = *answer.mutable_granted();
  g.set_lease(hold->id);
  g.set_backing(session::to_wire(hold->backing));
  g.set_guard(session::to_wire(guard::Kind::Precontent));
  g.set_file_size(hold->reclaimed ? std::min({hold->file->size, hold->size_told, hold->end_reclaimed}) : hold->file->size);
  reply(hold->session, hold->request, std::move(answer), hold->bounce);
}

void Daemon::apply(const effect::Refused& e) {
  const auto it = requests_.find(e.request);
  if (it == requests_.end()) return;
  const Request r = it->second;
  requests_.erase(it);
  status(r.session, r.frame, e.code);
  if (r.lease != 0) drop(r.lease), w_.regions.erase(r.lease);
}

void Daemon::apply(const effect::Released& e) {
  if (const auto it = requests_.find(e.request); it != requests_.end()) {
    status(it->second.session, it->second.frame, e.code);
    requests_.erase(it);
  }
  drop(e.lease);
}

void Daemon::apply(const effect::Extended& e) {
  const auto it = requests_.find(e.request);
  const HoldPtr hold = find(e.lease);
  if (it == requests_.end() || !hold) return;
  const Request r = it->second;
  requests_.erase(it);
  hold->size_told = session::told_extended(hold->size_told, hold->extent, e.file_size);
  if (hold->bounce) hold->bounce->end = std::max(hold->bounce->end, e.file_size);
  Frame answer;
  answer.mutable_extended()->set_file_size(e.file_size);
  reply(r.session, r.frame, std::move(answer));
}

void Daemon::apply(const effect::Recall& e) {
  const HoldPtr hold = find(e.lease);
  if (!hold) return;
  recalls_[e.recall] = {e.lease, e.action, 0};
  if (e.action == Action::Quiesce) hold->quiesced = true;
  Frame frame = session::to_wire(e, w_.clock.now());
  const bool makes = e.action == Action::Freeze || e.action == Action::Trim;
  std::shared_ptr<Pages> memory;
  if (makes) {
    memory = std::make_shared<Pages>();
    recalls_[e.recall].store = next_store_;
    frame.mutable_recall()->set_store(next_store_);
    const u64 id = next_store_++;
    if (hold->fencing) return;
    hold->stores.push_back({id, e.extent, memory, e.action == Action::Trim, hold->backing != core::Backing::Direct, false, false, e.recall});
  }
  Store* store = nullptr;  // session.h, store_to_end()
  for (Store& s : hold->stores) {
    const bool wanted = e.action == (s.trim ? Action::Settle : Action::Thaw);
    if (!wanted || s.ending || s.extent.begin != e.extent.begin) continue;
    if (store == nullptr || (s.complied && !store->complied)) store = &s;
  }
  if (store != nullptr) {
    store->ending = true;
    store->ended_by = e.recall;
    recalls_[e.recall].store = store->id;
    frame.mutable_recall()->set_store(store->id);
  }
  if (e.action == Action::Settle || e.action == Action::Reregister)
    hold->size_told = std::min(hold->size_told, std::max(e.size, hold->extent.begin));
  reply(hold->session, 0, std::move(frame), memory);
}

void Daemon::apply(const effect::StartFence& e) {
  const HoldPtr hold = find(e.lease);
  if (!hold) return step(core::event::FenceDone{e.lease, true});
  hold->fence_ordered = true;
  fence(hold, e.kill, [this, hold](bool ok) {
    rescue_trimmed({hold}, [this, hold, ok] { step(core::event::FenceDone{hold->id, ok}); });
  });
}

void Daemon::apply(const effect::BreakAnswered& e) {
  if (guard_breaks_.count(e.id) != 0) {
    if (guard::is_guards(e.id)) return w_.foreign.answer(e.id, e.deny_errno, passing_.count(e.id) != 0 || e.deny_errno != 0);
    return inherited_.answered(e.id, e.deny_errno);
  }
  const auto it = api_.find(e.id);
  if (it == api_.end()) return;
  ApiBreak& b = it->second;
  const bool holds = b.kind == BreakKind::Freeze && e.deny_errno == 0;
  Session* s = session(b.session);
  if (holds && (s != nullptr || b.admin)) {
    b.kept = true;
    b.until = w_.clock.now() + (b.hold == 0 ? policy_.freeze_hold_max : std::min(b.hold, policy_.freeze_hold_max));
  }
  if (s == nullptr) return;
  if (!holds) {
    s->freezes.erase(e.id);
    return status(s->id, b.request, e.deny_errno);
  }
  Frame answer;
  answer.mutable_frozen()->set_freeze(e.id);
  reply(s->id, b.request, std::move(answer));
}

void Daemon::apply(const effect::WatchPassing& e) {
  const auto it = guard_breaks_.find(e.id);
  if (guard::is_guards(e.id) || it == guard_breaks_.end()) return;
  step(core::event::OperationLeft{e.id, file(it->second).size});
}

void Daemon::apply(const effect::BreakDone& e) {
  guard_breaks_.erase(e.id);
  api_.erase(e.id);
  if (const auto file = inherited_.over(e.id)) second_halves(*file);
}

void Daemon::apply(const effect::Thawed& e) {
  if (const auto it = api_.find(e.freeze); it != api_.end())
    if (Session* s = session(it->second.session)) s->freezes.erase(e.freeze);
  const auto it = requests_.find(e.request);
  if (it == requests_.end()) return;
  status(it->second.session, it->second.frame, e.expired ? ETIMEDOUT : 0);
  requests_.erase(it);
}

void Daemon::apply(const effect::Fenced& e) {
  const HoldPtr hold = find(e.lease);
  if (!hold) return;
  Frame frame;
  frame.mutable_notice()->set_lease(e.lease);
  frame.mutable_notice()->set_kind(wire::v1::Notice::FENCED);
  reply(hold->session, 0, std::move(frame));
}

void Daemon::held(const guard::ForeignOp& op) {
  const auto same = [&](const auto& b) { return b.second == op.file; };
  if (w_.plant.is("the last come is served first") && std::any_of(guard_breaks_.begin(), guard_breaks_.end(), same)) return put_off_.push_back(op);
  guard_breaks_[op.id] = op.file;
  step(core::event::RequestBreak{op.id, op.file, op.kind, op.extent, op.new_size, 0, 0, op.tid != 0, 0, op.shortens, op.shorter_by});
}

void Daemon::left(core::BreakId id) {
  const auto it = guard_breaks_.find(id);
  if (it != guard_breaks_.end()) step(core::event::OperationLeft{id, file(it->second).size});
}

void Daemon::admin(BreakKind kind, const File& on, core::Extent extent, Time hold, core::LeaseId only) {
  if (!up_) return;
  if (!awaited_.empty() && kind != BreakKind::Revoke)
    return after_grace_.push_back([=, this, f = &on] { admin(kind, *f, extent, hold, only); });
  const core::BreakId id = next_break_++;
  api_[id] = {0, 0, kind, on.key, extent, hold, 0, false, true};
  core::event::RequestBreak ask{id, on.key, kind, extent, 0, hold, 0};
  ask.only = only;
  step(ask);
}

void Daemon::apply(const core::effect::SyncDue& e) {
  const core::BreakId id = next_break_++;
  api_[id] = {0, 0, BreakKind::Sync, e.file, {}, 0, 0, false, true};
  core::event::RequestBreak sync{id, e.file, BreakKind::Sync, {}};
  sync.periodic = true;
  awaited_.empty() ? step(sync) : after_grace_.push_back([this, sync] { step(sync); });
}

void Daemon::admin_thaw(u64 luck) {
  std::vector<core::BreakId> freezes;
  for (const auto& [id, b] : api_)
    if (b.kind == BreakKind::Freeze) freezes.push_back(id);
  if (up_ && !freezes.empty()) step(core::event::Thaw{freezes[luck % freezes.size()], next_request_++});
}

void Daemon::reload(const core::Policy& policy) {
  if (!up_) return;
  policy_ = policy;
  arbiter_->set_policy(policy);
}

bool Daemon::quiet() const {
  // A fence that hangs keeps the end of its client: what that one owes begins only then.
  const bool ending = std::any_of(sessions_.begin(), sessions_.end(), [](const auto& s) { return s.second.ended || s.second.hung_up; });
  return up_ && awaited_.empty() && deferred_.empty() && !ending && arbiter_->breaks() == 0 && arbiter_->next_deadline() == core::kNever && requests_.empty();
}

}  // namespace mrlease::sim
