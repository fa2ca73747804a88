// SPDX-License-Identifier: Apache-2.0
// Frames of clients, as daemon/session/requests.cc has them.
#include "tests/sim/daemon.h"

#include <algorithm>

#include "daemon/session/translate.h"
#include "tests/sim/world.h"

namespace mrlease::sim {

using core::BreakKind;
using wire::Frame;

Daemon::Daemon(World& world) : w_(world), policy_(world.shape.policy), arbiter_(std::make_unique<core::Arbiter>(policy_)) {}

// By the time, not by what was drawn before: a schedule that has lost some moves has the same luck in the others.
u64 Daemon::luck() {
  if (std::exchange(drawn_at_, w_.clock.now()) != w_.clock.now()) drawn_ = 0;
  return mix(w_.seed, 6, w_.clock.now(), ++drawn_);
}

Time Daemon::on_the_wire(const Client& client) const { return mix(w_.seed, 7, client.number(), w_.clock.now()) % (w_.shape.wire + 1); }

void Daemon::later(Time delay, std::function<void()> what) {
  w_.clock.in(delay, [this, life = starts_, what = std::move(what)] {
    if (up_ && starts_ == life) what();
  });
}

core::SessionId Daemon::accept(Client& client) {
  if (!up_) return 0;
  Session& s = sessions_[next_session_];
  s.id = next_session_++;
  s.client = &client;
  s.user = client.user();
  s.process = client.process();
  return s.id;
}

void Daemon::from_client(core::SessionId id, Message message) {
  Session* s = session(id);
  if (s == nullptr) return;
  s->last_up = std::max(s->last_up, w_.clock.now() + on_the_wire(*s->client));
  w_.clock.at(s->last_up, [this, id, message = std::move(message)]() mutable {
    Session* to = session(id);
    if (to == nullptr || to->gone) return;
    if (!up_) return to->backlog.push_back(std::move(message));
    Frame f;
    if (!unpack(message, &f)) return w_.auditor.complain("wire: a client's frame does not decode");
    on_frame(id, f, message);
  });
}

void Daemon::reply(core::SessionId id, u64 request, Frame frame, std::shared_ptr<Pages> memory) {
  Session* s = session(id);
  if (s == nullptr || s->gone) return;
  frame.set_id(++s->frames);
  frame.set_reply_to(request);
  s->last_down = std::max(s->last_down, w_.clock.now() + on_the_wire(*s->client));
  w_.clock.at(s->last_down, [client = s->client, id, m = pack(frame, std::move(memory))] {
    if (client->session() == id) client->on_packet(m);
  });
}

void Daemon::status(core::SessionId id, u64 request, int code) {
  Frame f;
  f.mutable_status()->set_code(code);
  reply(id, request, std::move(f));
}

Daemon::Session* Daemon::session(core::SessionId id) {
  const auto it = sessions_.find(id);
  return it == sessions_.end() ? nullptr : &it->second;
}

Daemon::HoldPtr Daemon::find(core::LeaseId id) const {
  const auto it = holds_.find(id);
  return it == holds_.end() ? nullptr : it->second;
}

Daemon::HoldPtr Daemon::own(Session& s, core::LeaseId id, u64 request) {
  auto hold = find(id);
  if (hold && hold->session == s.id) return hold;
  status(s.id, request, ENOENT);
  return nullptr;
}

core::RequestId Daemon::new_request(core::SessionId session, u64 frame, core::LeaseId lease) {
  requests_[next_request_] = {session, frame, lease};
  return next_request_++;
}

void Daemon::on_frame(core::SessionId id, const Frame& f, const Message& m) {
  Session* s = session(id);
  if (s == nullptr || s->gone) return;
  if (s->resuming) s->seen.insert(f.id());
  switch (f.body_case()) {
    case Frame::kAddDevice: {
      s->devices = true;
      Frame answer;
      answer.mutable_device_added()->set_device(1);
      return reply(id, f.id(), std::move(answer));
    }
    case Frame::kAddMr:
    case Frame::kRemoveMr: return on_mr(*s, f);
    case Frame::kRegister: return on_register(*s, f, m);
    case Frame::kRelease: return on_release(*s, f);
    case Frame::kExtend: {
      const HoldPtr hold = own(*s, f.extend().lease(), f.id());
      if (!hold) return;
      if (hold->fencing) return status(id, f.id(), EKEYREVOKED);
      return step(core::event::ExtendLease{new_request(id, f.id()), hold->id, id, hold->file->size});
    }
    case Frame::kMerge: return on_merge(*s, f);
    case Frame::kRecallDone: return on_recall_done(*s, f);
    case Frame::kSyncFile:
    case Frame::kFreezeFile: return on_file_break(*s, f, m);
    case Frame::kThawFile: return on_thaw(*s, f);
    case Frame::kResumed: return on_resumed(*s, f);
    case Frame::kReclaimed: return on_reclaimed(*s, f);
    default: return status(id, f.id(), EPROTO);
  }
}

int Daemon::charge(Hold* hold) {
  const session::Usage lease{.leases = 1};
  session::Options limits;
  limits.leases_max = w_.plant.is("no limit") ? ~u64{0} : w_.shape.leases_of_user;
  const int code = session::check_quota(accounts_.of(hold->user), lease, limits).code;
  if (code == 0) hold->charge = accounts_.charge(hold->user, lease);
  return code;
}

void Daemon::on_register(Session& s, const Frame& f, const Message& m) {
  const auto& r = f.register_();
  if (defer(s, f, m)) return;
  if (r.reclaim() && still_ending(s)) return status(s.id, f.id(), EAGAIN);
  File& file = w_.file(m.file->key);
  const auto backing = session::to_core(r.backing());
  const auto extent = session::to_core(r.range());
  if (!backing || !extent || extent->begin % kPage != 0) return status(s.id, f.id(), EINVAL);
  if (extent->end > file.size && !r.reclaim()) return status(s.id, f.id(), ERANGE);
  auto hold = std::make_shared<Hold>();
  hold->user = s.user;
  if (const int code = charge(hold.get()); code != 0) return status(s.id, f.id(), code);
  hold->id = next_lease_++;
  hold->session = s.id;
  hold->request = f.id();
  hold->file = &file;
  hold->extent = *extent;
  hold->backing = *backing;
  hold->write = r.write();
  hold->share = r.share();
  hold->reclaimed = r.reclaim();
  hold->end_reclaimed = r.reclaim() ? std::min(file.size, r.on_file_end()) : file.size;
  hold->size_told = std::min(extent->end, std::max<u64>({hold->end_reclaimed, extent->begin, 1}));
  if (r.reclaim()) hold->bounce = m.memory;
  if (r.reclaim()) w_.regions[hold->id] = m.reclaims;
  holds_[hold->id] = hold;
  step(core::event::RequestLease{new_request(s.id, f.id(), hold->id),
                                 {hold->id, s.id, file.key, *extent, hold->size_told, *backing, r.write(), r.share()}});
}

void Daemon::on_mr(Session& s, const Frame& f) {
  const bool add = f.has_add_mr();
  const HoldPtr hold = own(s, add ? f.add_mr().lease() : f.remove_mr().lease(), f.id());
  const std::uint32_t handle = add ? f.add_mr().handle() : f.remove_mr().handle();
  if (!hold) return;
  if (hold->fencing) return status(s.id, f.id(), EKEYREVOKED);
  const auto same = [&](const auto& mr) { return mr->handle == handle; };
  const auto it = std::find_if(hold->mrs.begin(), hold->mrs.end(), same);
  if (!add && it != hold->mrs.end()) {
    hold->handed_back = true;
    hold->mrs.erase(it);
  }
  if (add && it == hold->mrs.end()) {
    const auto mr = coming_.find({hold->id, handle});
    if (mr == coming_.end()) return status(s.id, f.id(), ENOENT);
    hold->mrs.push_back(mr->second);
    hold->handed_back = false;
    hold->mrs_told = true;
    coming_.erase(mr);
  }
  status(s.id, f.id(), 0);
}

void Daemon::on_release(Session& s, const Frame& f) {
  const HoldPtr hold = own(s, f.release().lease(), f.id());
  if (!hold) return;
  if (!hold->mrs.empty() && !hold->fencing) return status(s.id, f.id(), EBUSY);
  const core::RequestId request = new_request(s.id, f.id());
  auto go_on = [this, request, hold] {
    rescue_trimmed({hold}, [this, request, hold] { step(core::event::ReleaseLease{request, hold->id, hold->session}); });
  };
  if (hold->fencing && !hold->destroyed) return hold->after_fence.push_back(std::move(go_on));
  go_on();
}

void Daemon::on_merge(Session& s, const Frame& f) {
  const HoldPtr hold = own(s, f.merge().lease(), f.id());
  if (!hold) return;
  if (hold->fencing) return status(s.id, f.id(), EKEYREVOKED);
  if (!hold->write) return status(s.id, f.id(), EACCES);
  const auto store = std::find_if(hold->stores.begin(), hold->stores.end(), [&](const Store& x) { return x.id == f.merge().store(); });
  if (store == hold->stores.end()) return status(s.id, f.id(), ENOENT);
  if (hold->merging) return status(s.id, f.id(), EBUSY);
  hold->merging = true;
  later(luck() % (w_.shape.wire + 1), [this, hold, memory = store->memory, m = f.merge(), id = s.id, request = f.id()] {
    hold->merging = false;
    for (const auto& range : m.ranges())
      for (u64 p = range.offset() / kPage; p * kPage < range.offset() + range.length() && !hold->fencing; ++p) {
        const auto it = memory->written.find(p);
        if (it == memory->written.end()) continue;
        w_.to_file(*hold->file, p, it->second, hold->id, true);
        memory->written.erase(it);
      }
    status(id, request, 0);
  });
}

void Daemon::on_recall_done(Session& s, const Frame& f) {
  const auto& r = f.recall_done();
  const auto it = recalls_.find(r.recall());
  int answer = r.code();
  core::SessionId from = s.id;
  if (it != recalls_.end()) {
    const HoldPtr hold = find(it->second.lease);
    if (!hold) return;
    if (hold->session != s.id) w_.auditor.coverage().happened("a client that answers for another");
    if (hold->session != s.id && !w_.plant.is("believe a stranger")) return;
    from = hold->session;
    const core::Action action = it->second.action;
    if ((action == core::Action::Thaw || action == core::Action::Settle) && answer == 0 && !hold->fencing)
      std::erase_if(hold->stores, [&](const Store& x) { return x.id == it->second.store; });
    if (action == core::Action::Reregister && answer == 0) hold->quiesced = false;
    if (!w_.plant.is("believe a liar")) answer = session::credited(action, answer, !hold->mrs.empty());
    if (session::ends_mrs(action) && answer == 0) hold->handed_back = false;
    for (Store& x : hold->stores)
      if (x.id == it->second.store && answer == 0) x.live = x.complied = true;
    const bool gives_up = action == core::Action::Release && answer == 0;
    recalls_.erase(it);
    if (gives_up)
      return rescue_trimmed({hold}, [this, recall = r.recall(), from] { step(core::event::RecallAnswered{recall, from, 0}); });
  }
  step(core::event::RecallAnswered{r.recall(), from, answer});
}

void Daemon::on_file_break(Session& s, const Frame& f, const Message& m) {
  const File& file = *m.file;
  const bool freeze = f.has_freeze_file();
  const auto extent = session::to_core(freeze ? f.freeze_file().range() : f.sync_file().range());
  if (!extent) return status(s.id, f.id(), EINVAL);
  if (defer(s, f, m)) return;
  const BreakKind kind = freeze ? BreakKind::Freeze : BreakKind::Sync;
  const core::BreakId id = next_break_++;
  const Time hold = f.freeze_file().hold_ms();
  api_[id] = {s.id, f.id(), kind, file.key, *extent, hold};
  if (freeze) s.freezes.insert(id);
  step(core::event::RequestBreak{id, file.key, kind, *extent, 0, freeze ? hold : 0, s.id});
}

void Daemon::on_thaw(Session& s, const Frame& f) {
  const core::BreakId id = f.thaw_file().freeze();
  if (s.freezes.erase(id) == 0) return status(s.id, f.id(), ETIMEDOUT);
  step(core::event::Thaw{id, new_request(s.id, f.id())});
}

void Daemon::on_resumed(Session& s, const Frame& f) {
  if (!s.resuming) return;
  if (f.resumed().start() != starts_) return;  // to a predecessor
  s.resuming = false;
  const core::SessionId id = s.id;
  const auto seen = std::exchange(s.seen, {});
  for (const u64 waiting : f.resumed().waiting()) {
    if (seen.count(waiting) != 0) continue;
    const auto frozen = std::find_if(api_.begin(), api_.end(), [&](const auto& b) {
      return b.second.session == id && b.second.request == waiting && b.second.kind == BreakKind::Freeze;
    });
    if (frozen != api_.end()) {
      Frame answer;
      answer.mutable_frozen()->set_freeze(frozen->first);
      reply(id, waiting, std::move(answer));
      continue;
    }
    for (const core::LeaseId lease : lease_ids())
      if (const HoldPtr h = find(lease); h && h->session == id && h->request == waiting && h->mrs.empty())
        step(core::event::ReleaseLease{0, lease, id});
    status(id, waiting, ERESTART);
  }
}

void Daemon::client_ended(const std::vector<core::SessionId>& sessions, const std::vector<std::shared_ptr<Region>>& regions) {
  for (const auto& r : regions) {
    const HoldPtr hold = find(r->lease);
    Session* s = hold ? session(hold->session) : nullptr;
    // What the daemon has no duplicate of goes with the process.
    const bool known = s != nullptr && std::find(hold->mrs.begin(), hold->mrs.end(), r->mr) != hold->mrs.end();
    if (r->mr && (!known || !s->devices || !up_)) World::destroy(*r->mr, *r->file, r->backing);
    if (s != nullptr) s->left.push_back(r);
  }
  for (const core::SessionId id : sessions) {
    Session* s = session(id);
    if (s == nullptr) continue;
    s->ended = true;
    w_.clock.in(luck() % (w_.shape.wire + 1), [this, id, life = starts_] {
      if (up_ && starts_ == life) session_closed(id);  // else the successor sees it
    });
  }
}

// First the device access ends, then what was owed is merged, then everything is freed.
void Daemon::session_closed(core::SessionId id) {
  Session* s = session(id);
  if (s == nullptr || s->gone) return;
  s->gone = true;
  std::vector<HoldPtr> holds;
  for (const auto& [lease, hold] : holds_)
    if (hold->session == id) holds.push_back(hold);
  if (w_.plant.is("no fence at exit")) return rescue_trimmed(holds, [this, id] { session_ended(id); });
  const bool kill = !w_.plant.is("no kill at a hang-up") && std::any_of(holds.begin(), holds.end(), [this](const HoldPtr& h) { return has_unknown_mrs(*h); });
  fence_session(id, holds, kill, [this, id, holds](bool) {
    destroy(holds);
    if (Session* still = session(id)) {
      close_duplicates(*still);
      hear_of_hang_up(*still);
    }
    rescue_trimmed(holds, [this, id] { session_ended(id); });
  });
}

void Daemon::session_ended(core::SessionId id) {
  step(core::event::SessionGone{id});
  std::erase_if(requests_, [id](const auto& r) { return r.second.session == id; });
  for (const core::LeaseId lease : lease_ids())
    if (find(lease)->session == id && arbiter_->find(lease) == nullptr) drop(lease);
  sessions_.erase(id);
  for (const auto& [lease, hold] : holds_)
    if (hold->session == id && w_.plant.is("do not charge for who has gone")) hold->charge.reset();
}

std::vector<core::LeaseId> Daemon::lease_ids() const {
  std::vector<core::LeaseId> ids;
  for (const auto& [id, hold] : holds_) ids.push_back(id);
  return ids;
}

void Daemon::drop(core::LeaseId id) { holds_.erase(id); }

}  // namespace mrlease::sim
