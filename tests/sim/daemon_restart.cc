// SPDX-License-Identifier: Apache-2.0
// The daemon is killed, and a successor takes over what outlived it: in the order of daemon/session/adopt.cc.
#include <algorithm>

#include "tests/sim/world.h"

namespace mrlease::sim {

using core::BreakKind;

// What no successor gets.
void Daemon::end_process() {
  deferred_.clear();
  after_grace_.clear();
  events_.clear();
  put_off_.clear();
  stepping_ = false;
  armed_ = core::kNever;
  guard_breaks_.clear();
  inherited_ = {};
  requests_.clear();
  recalls_.clear();
  published_.clear();
}

void Daemon::restart(u64 luck) {
  if (!up_) return;
  up_ = false;
  ++starts_;
  end_process();
  std::erase_if(holds_, [](const auto& h) { return !h.second->kept; });
  std::erase_if(api_, [](const auto& b) { return !b.second.kept; });
  for (auto& [id, stores] : std::exchange(rescued_, {}))
    if (const HoldPtr h = find(id)) h->stores.insert(h->stores.end(), stores.begin(), stores.end());
  accounts_ = {};
  for (auto& [id, h] : holds_) {
    h->charge = accounts_.charge(h->user, {.leases = 1});
    h->fencing = h->destroyed;
    h->merging = h->rescuing = false;
    h->after_fence.clear();
    h->after_rescue.clear();
    for (Store& s : h->stores) {
      s.complied = s.ending = false;  // not kept
      if (!s.live) recalls_[s.made_by] = {id, core::Action::Freeze, s.id};  // its answer may come yet
      if (s.ended_by != 0) recalls_[s.ended_by] = {id, s.trim ? core::Action::Settle : core::Action::Thaw, s.id};
    }
  }
  for (auto& [id, s] : sessions_) {
    s.gone = s.resuming = s.devices = false;
    s.seen.clear();
    s.freezes.clear();
    if (!s.ended) continue;
    close_duplicates(s);
    for (auto& [lease, h] : holds_)  // the last duplicates were the dead daemon's
      if (h->session == id)
        for (const auto& mr : h->mrs) World::destroy(*mr, *h->file, h->backing);
  }
  w_.auditor.daemon_died();
  w_.foreign.daemon_died();
  const Time down = Dice(luck).upto(300);
  w_.clock.in(down, [this] { wait_for_passing(w_.clock.now() + policy_.passing_bound); });
}

void Daemon::wait_for_passing(Time until) {
  if (!w_.foreign.passes() || w_.clock.now() >= until) return take_over();
  w_.clock.in(5, [this, until] { wait_for_passing(until); });
}

std::vector<session::LeftLease> Daemon::left_leases(const core::FileKey& key) const {
  std::vector<session::LeftLease> left;
  for (const auto& [id, h] : holds_) {
    if (h->file->key != key || arbiter_->find(id) == nullptr) continue;
    left.push_back({id, h->extent, h->size_told, h->bounce != nullptr, h->write, h->quiesced && !w_.plant.is("forget at a restart who was quiesced"), {}});
    for (const Store& s : h->stores) {
      const bool frozen = std::any_of(api_.begin(), api_.end(), [&, hold = h](const auto& b) {
        return b.second.kept && b.second.file == key && b.second.extent.overlaps(s.extent) && b.second.extent.overlaps(hold->extent);
      });
      left.back().stores.push_back({s.extent, s.trim, frozen});
    }
  }
  return left;
}

void Daemon::second_halves(const core::FileKey& key) {
  for (core::event::AdoptBreak& b : session::second_halves(key, file(key).size, left_leases(key))) {
    b.id = next_break_++;
    step(b);
  }
}

void Daemon::take_over() {
  up_ = true;
  arbiter_ = std::make_unique<core::Arbiter>(policy_, starts_ << 32);
  w_.auditor.successor(w_.clock.now());
  const Time now = w_.clock.now();
  std::vector<core::SessionId> sessions;
  for (auto& [id, s] : sessions_) {
    sessions.push_back(id);
    if (s.ended || s.hung_up) continue;
    s.resuming = true;
    wire::Frame frame;
    frame.mutable_resume()->set_start(starts_);
    reply(id, 0, std::move(frame));
  }
  for (const core::LeaseId id : lease_ids()) {
    const HoldPtr h = find(id);
    const bool ended = session(h->session) == nullptr;
    if (ended) h->fencing = h->destroyed = true;
    const bool owes = h->write && (h->bounce || !h->stores.empty());
    if (h->destroyed && !ended) {
      wire::Frame frame;
      frame.mutable_notice()->set_lease(id);
      frame.mutable_notice()->set_kind(wire::v1::Notice::FENCED);
      reply(h->session, 0, std::move(frame));
    }
    if (w_.plant.loses(id) || (h->destroyed && w_.plant.is("forget at a restart what is owed"))) continue;
    if (h->destroyed && !owes) {
      if (ended) drop(id);
      continue;
    }
    step(core::event::AdoptLease{{id, h->session, h->file->key, h->extent, h->size_told, h->backing, h->write, h->share}});
    if (h->fence_ordered && !h->destroyed) step(core::event::AdoptFence{id});
  }
  std::erase_if(api_, [&](const auto& b) { return b.second.until <= now || (!b.second.admin && session(b.second.session) == nullptr); });
  if (w_.plant.is("forget freezes at a restart")) api_.clear();
  for (const auto& [id, key] : w_.foreign.adopt()) {
    guard_breaks_[id] = key;
    inherited_.inside(id, key);
    if (!w_.plant.is("forget at a restart what is inside")) step(core::event::AdoptPassing{id, key});
  }
  const std::map<core::BreakId, ApiBreak> freezes = api_;
  for (const auto& [id, b] : freezes) {
    core::event::AdoptBreak freeze{id, b.file, BreakKind::Freeze, b.extent, file(b.file).size, b.until - now, b.session,
                                   session::frozen_parts(b.extent, left_leases(b.file))};
    if (Session* s = session(b.session)) s->freezes.insert(id);
    step(freeze);
  }
  std::vector<core::FileKey> files;
  for (const auto& [id, h] : holds_)
    if (std::find(files.begin(), files.end(), h->file->key) == files.end()) files.push_back(h->file->key);
  std::sort(files.begin(), files.end());
  for (const core::FileKey& key : files) {
    if (!inherited_.changes(key) || w_.plant.is("restore at a restart under what is inside")) {
      second_halves(key);
      continue;
    }
    const core::BreakId id = next_break_++;
    guard_breaks_[id] = key;
    inherited_.revokes(id, key);
    step(core::event::RequestBreak{id, key, BreakKind::Revoke, {}, 0, 0, 0, false});
  }
  std::map<core::SessionId, std::vector<HoldPtr>> ended;
  for (const auto& [id, h] : holds_)
    if (session(h->session) == nullptr) ended[h->session].push_back(h);
  for (const auto& [id, left] : ended) rescue_trimmed(left, [this, id = id] { step(core::event::SessionGone{id}); });
  if (!awaited_.empty()) later(grace_, [this] { end_grace(); });
  publish();
  w_.auditor.taken_over();
  w_.foreign.begin();
  for (const core::SessionId id : sessions) {
    Session* s = session(id);
    if (s == nullptr) continue;
    for (const Message& m : std::exchange(s->backlog, {})) {
      wire::Frame f;
      if (unpack(m, &f)) on_frame(id, f, m);
    }
    if (s->ended || s->hung_up) session_closed(id);
  }
}

}  // namespace mrlease::sim
