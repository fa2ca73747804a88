// SPDX-License-Identifier: Apache-2.0
// The daemon hangs up on a client that lives, or ends without a successor; clients come back with their leases: as
// daemon/session/reclaim.cc and broker.cc have it.
#include <algorithm>

#include "tests/sim/world.h"

namespace mrlease::sim {

using wire::Frame;

void Daemon::hang_up(core::SessionId id) {
  Session* s = session(id);
  if (!up_ || s == nullptr || s->gone || s->ended) return;
  w_.auditor.coverage().happened("a connection lost by a client that lives");
  s->hung_up = true;
  w_.by_session.erase(id);
  for (const auto& [lease, h] : holds_)
    if (h->session == id) w_.auditor.comes_late(lease);
  if (w_.plant.is("hang up before the fence")) hear_of_hang_up(*s);
  session_closed(id);
}

// Only when its memory regions are gone: until then it must not bring back to the file what a break has got out of the way.
void Daemon::hear_of_hang_up(Session& s) {
  if (s.ended) return;
  s.last_down = std::max(s.last_down, w_.clock.now() + on_the_wire(*s.client));
  w_.clock.at(s.last_down, [client = s.client, id = s.id] { client->hung_up(id); });
}

// There may be memory regions that the daemon has no handles to destroy by: the client has come back with them and not said a
// word of them yet; or it was told that it may deregister one, and has not said since that it has.
bool Daemon::has_unknown_mrs(const Hold& hold) const {
  if (hold.backing == core::Backing::Bounce) return false;
  return (hold.handed_back && !w_.plant.is("forget what is handed back")) || (hold.reclaimed && !hold.mrs_told);
}

bool Daemon::lives(core::SessionId id) const {
  const auto it = sessions_.find(id);
  if (it == sessions_.end()) return false;
  const Session& s = it->second;
  return !s.ended && s.client->process() == s.process && !s.client->dead();
}

// Its fence destroys memory regions by their handles, and must not find them on another lease.
bool Daemon::still_ending(const Session& s) const {
  return std::any_of(sessions_.begin(), sessions_.end(), [&](const auto& entry) {
    const Session& o = entry.second;
    if (!o.gone || o.id == s.id || o.client != s.client || o.process != s.process) return false;
    return std::any_of(holds_.begin(), holds_.end(), [&](const auto& h) { return h.second->session == o.id; });
  });
}

// Nothing outlives it but its clients. What it held goes on, and what clients that have died owed is lost.
void Daemon::vanish(u64 luck) {
  if (!up_) return;
  w_.auditor.coverage().happened("a daemon that was gone for good");
  up_ = false;
  vanished_ = true;
  ++starts_;
  awaited_.clear();
  for (auto& [id, s] : sessions_) {
    const bool is_alive = lives(id);
    for (const auto& [lease, h] : holds_) {
      if (h->session != id) continue;
      if (is_alive) awaited_.insert({s.client->number(), s.process});
      else destroy({h});
    }
    if (!is_alive) close_duplicates(s);
    hear_of_hang_up(s);
  }
  reclaimers_ = awaited_;
  w_.auditor.daemon_gone();
  w_.foreign.daemon_gone();
  end_process();
  sessions_.clear();
  holds_.clear();
  api_.clear();
  rescued_.clear();
  coming_.clear();
  Dice d(luck);
  const Time down = d.upto(1000);
  grace_ = d.between(1000, 6000);
  w_.clock.in(down, [this] {
    up_ = true;
    vanished_ = false;
    arbiter_ = std::make_unique<core::Arbiter>(policy_);
    publish();
    w_.foreign.begin();
    later(grace_, [this] { end_grace(); });
    if (awaited_.empty()) end_grace();
  });
}

bool Daemon::defer(const Session& s, const Frame& f, const Message& m) {
  if (w_.plant.is("no grace")) return false;
  if (awaited_.empty() || (f.register_().reclaim() && reclaimers_.count({s.client->number(), s.process}) != 0)) return false;
  deferred_.push_back({s.id, f, m});
  return true;
}

void Daemon::on_reclaimed(Session& s, const Frame& f) {
  status(s.id, f.id(), 0);
  if (awaited_.erase({s.client->number(), s.process}) != 0 && awaited_.empty()) end_grace();
}

void Daemon::end_grace() {
  awaited_.clear();
  w_.auditor.end_of_grace();
  for (const Deferred& d : std::exchange(deferred_, {})) on_frame(d.session, d.frame, d.message);
  for (const auto& go_on : std::exchange(after_grace_, {})) go_on();
}

}  // namespace mrlease::sim
