// SPDX-License-Identifier: Apache-2.0
// A connection goes and its client lives: as client-lib/src/region/reconnect.cc and region_reclaim.cc have it. The memory
// regions live on, and peers write through them, until the daemon that has hung up destroys them or another one is told of them.
#include <algorithm>
#include <cerrno>

#include "daemon/session/translate.h"
#include "tests/sim/client.h"
#include "tests/sim/world.h"

namespace mrlease::sim {

using client::Segment;
using core::Backing;

namespace {

constexpr Time kFirstPause = 50, kLongestPause = 2000, kStuck = 4000;  // reconnect.cc

bool for_now(int code) { return code == ENOTCONN || code == EAGAIN; }

}  // namespace

void Client::hung_up(core::SessionId session) {
  if (dead_ || session_ != session) return;
  if (stopped_) return parked_.push_back([this, session] { hung_up(session); });
  w_.by_session.erase(session_);
  session_ = 0;
  freezes_.clear();
  for (auto& [id, w] : std::exchange(waiting_, {})) {
    wire::Frame gone;
    gone.mutable_status()->set_code(ENOTCONN);
    later(0, [then = std::move(w.then), gone] { then(gone); });
  }
  // Frozen pages cannot be thawed by the daemon any more.
  for (const Ptr& r : all_regions())
    if (r->backing == Backing::OdpTransparent)
      in_lane([this, r](std::function<void()> done) {
        if (r->gone || r->fenced || r->reclaiming) return done();
        merge_locally(r, [this, r, done](int code) {
          if (code == 0) all_back_to_file(r);
          done();
        });
      });
  if (std::exchange(finding_, true)) return;
  later(kFirstPause, [this] { find_daemon_again(kFirstPause); });
}

void Client::find_daemon_again(Time pause) {
  const Time longer = std::min(pause * 2, kLongestPause);
  if (!meet_daemon()) return later(longer, [this, longer] { find_daemon_again(longer); });
  for (auto& [id, r] : std::exchange(regions_, {}))
    if (!r->gone && std::find(unclaimed_.begin(), unclaimed_.end(), r) == unclaimed_.end()) unclaimed_.push_back(r);
  found_ = w_.clock.now();
  said_reclaimed_ = false;
  // What is in the lane was asked for by the daemon before, and is over before its regions are another one's.
  in_lane([this](std::function<void()> done) {
    done();
    reclaim_each();
  });
}

// Asks for each lease once, and again for those that are left.
void Client::reclaim_each() {
  if (session_ == 0) return later(kFirstPause, [this] { find_daemon_again(kFirstPause); });
  reclaim_next(unclaimed_);
}

void Client::reclaim_next(std::vector<Ptr> left) {
  if (session_ == 0) return reclaim_each();
  if (!left.empty()) {
    const Ptr r = left.back();
    left.pop_back();
    return reclaim(r, [this, r, left](int code) {
      r->reclaiming = false;
      if (code == 0) std::erase(unclaimed_, r);
      for (auto& what : std::exchange(r->after_reclaim, {})) what();
      reclaim_next(left);
    });
  }
  const bool stuck = w_.clock.now() >= found_ + kStuck;
  if ((unclaimed_.empty() || stuck) && !std::exchange(said_reclaimed_, true)) call(protocol::reclaimed(), [](const wire::Frame&) {});
  finding_ = !unclaimed_.empty();
  if (finding_) later(kFirstPause, [this] { reclaim_each(); });
}

// done(0): it is the new daemon's, or has ended in the region's fence. Else: try again later.
void Client::reclaim(const Ptr& r, const Done& done) {
  if (r->gone || r->fenced) return done(0);
  r->reclaiming = true;
  if (!r->mr && r->backing != Backing::Direct) return lose(r, false, done);  // it was to be given up, and never comes back
  come_back(r, [this, r, done](int code) {
    if (code != 0) return for_now(code) ? done(code) : lose(r, false, done);
    ask_again(r, done);
  });
}

// What is not on the file, by the old daemon's order, comes back to it.
void Client::come_back(const Ptr& r, const Done& done) {
  if (r->backing == Backing::Bounce || r->held.empty()) return done(0);
  const auto merged = [this, r, done](int code) {
    if (code != 0) return done(code);
    all_back_to_file(r);
    if (r->backing == Backing::OdpCooperative) restored(r);
    done(0);
  };
  if (r->backing == Backing::OdpTransparent) return merge_locally(r, merged);
  quiesce(r, [this, r, merged] {
    if (r->backing == Backing::OdpCooperative) return merge_locally(r, merged);
    if (r->mr) World::destroy(*r->mr, *r->file, r->backing);  // by the old connection, which says ENOTCONN
    r->mr.reset();
    r->usable = false;
    merge_locally(r, merged);
  });
}

void Client::ask_again(const Ptr& r, const Done& done) {
  protocol::LeaseRequest ask;
  ask.range = {r->extent.begin, r->extent.end - r->extent.begin};
  ask.write = r->write;
  ask.backing = session::to_wire(r->backing);
  ask.share = r->share;
  ask.reclaim = true;
  ask.on_file_end = r->size;
  call(protocol::register_lease(ask), [this, r, done](const wire::Frame& reply) {
    const client::Outcome o = protocol::expect(reply, wire::Frame::kGranted);
    if (!o.ok()) return for_now(o.code) ? done(o.code) : lose(r, o.code == EBUSY, done);
    w_.auditor.reclaimed(r->lease, reply.granted().lease(), r->file->key);
    r->lease = reply.granted().lease();
    r->session = session_;
    w_.auditor.covered(r->lease, reply.granted().guard());
    ++r->grants;
    regions_[r->lease] = r;
    if (r->mr && !r->mr->alive) return lose(r, false, done);  // a daemon that has only hung up on us has destroyed it
    reclaim_mr(r, reply.granted().file_size(), [this, r, done](int code) {
      if (code != 0 && !for_now(code)) return lose(r, false, done);
      done(code);
    });
  }, r->bounce, r->file, r);
}

void Client::reclaim_mr(const Ptr& r, u64 file_size, const Done& done) {
  const u64 size = std::clamp(file_size, r->extent.begin, r->extent.end);
  const bool direct = r->backing == Backing::Direct;
  const auto goes_on = [this, r, size, direct, done] {
    if (!direct || r->mr) r->size = std::min(r->size, size);
    if (!r->mr && direct) {
      r->size = size;
      return make_mr(r, [this, r, done](int code) {
        restored(r);
        done(code);
      });
    }
    const auto told = [this, r, done](int code) {
      if (code == 0 && r->quiet) restored(r);  // the daemon that would have ended that is gone
      done(code);
    };
    if (!r->mr) return told(0);
    w_.daemon.will_add(r->lease, r->mr);
    call_granter(r, protocol::add_mr(r->lease, {1, r->mr->handle, 7, 8, 0x10000, r->mr->reach.end - r->extent.begin}),
         [told](const wire::Frame& reply) { told(protocol::expect(reply, wire::Frame::kStatus).code); });
  };
  if (!direct || !r->mr || size >= r->size) return goes_on();
  quiesce(r, [r, goes_on] {  // pages that the file has lost stay pinned
    World::destroy(*r->mr, *r->file, r->backing);
    r->mr.reset();
    r->usable = false;
    goes_on();
  });
}

// No daemon will have it again. What it owes goes to the file from here; a lease that was granted goes back.
void Client::lose(const Ptr& r, bool taken, const Done& done) {
  if (r->mr) World::destroy(*r->mr, *r->file, r->backing);
  r->mr.reset();
  r->usable = false;
  const auto over = [this, r, done] {
    r->fenced = true;
    r->guard.revoke();
    if (r->drained) std::exchange(r->drained, {})();
    w_.auditor.coverage().happened("a reclaim that was lost");
    done(0);
  };
  const auto ended = [this, r, over](int) {
    call_granter(r, protocol::release(r->lease), [](const wire::Frame&) {});
    over();
  };
  if (!taken && r->backing == Backing::Bounce)  // a daemon that has granted it has its pages as well
    return call_granter(r, protocol::release(r->lease), [this, r, over, ended](const wire::Frame& reply) {
      protocol::expect(reply, wire::Frame::kStatus).ok() ? over() : merge_locally(r, ended);
    });
  if (!taken) return merge_locally(r, ended);
  w_.auditor.forgive(r->lease);  // somebody else has the range by now
  ended(0);
}

// With write(2), by the process itself: the guard of a daemon that lives holds it like anybody's.
void Client::merge_locally(const Ptr& r, const Done& done) {
  const auto write = [this, r, done](const std::shared_ptr<Pages>& from) {
    const u64 first = from->written.begin()->first, last = from->written.rbegin()->first + 1;
    w_.foreign.write(*r->file, first * kPage, last * kPage, [this, r, from, done, life = life_](int code, u64 let_go) {
      if (dead_ || life_ != life) return;
      if (code != 0) return done(code);
      for (const auto& [page, stamp] : std::exchange(from->written, {}))
        if (page * kPage < from->end) w_.to_file(*r->file, page, stamp, r->lease, true, let_go);
      merge_locally(r, done);
    });
  };
  if (r->bounce && r->write) std::erase_if(r->bounce->written, [&](const auto& w) { return w.first * kPage >= r->bounce->end; });
  if (r->bounce && r->write && !r->bounce->written.empty()) return write(r->bounce);
  r->surrender();
  for (auto& [id, held] : r->held) {
    if (!r->write) held.store->written.clear();
    if (!held.store->written.empty()) return write(held.store);
  }
  done(0);
}

void Client::all_back_to_file(const Ptr& r) {
  std::vector<u64> stores;
  for (const auto& [id, held] : r->held) stores.push_back(id);
  for (const u64 id : stores) back_to_file(r, id, core::kToEnd - kPage);
}

}  // namespace mrlease::sim
