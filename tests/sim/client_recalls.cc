// SPDX-License-Identifier: Apache-2.0
// What a client does when it is recalled: as client-lib/src/backing does it, step by step; or as its nature has it.
#include <algorithm>
#include <chrono>

#include "tests/sim/client.h"
#include "tests/sim/world.h"

namespace mrlease::sim {

namespace v1 = wire::v1;
using client::Segment;
using core::Backing;
using Kind = Segment::Kind;

// One after the other, as the library's lanes do.
void Client::in_lane(std::function<void(std::function<void()> done)> job) {
  lane_.push_back(std::move(job));
  if (!lane_busy_) next_in_lane();
}

void Client::next_in_lane() {
  if (lane_.empty()) return;
  lane_busy_ = true;
  const auto job = std::move(lane_.front());
  lane_.pop_front();
  job([this, life = life_] {
    if (life_ != life || dead_) return;
    lane_busy_ = false;
    next_in_lane();
  });
}

void Client::on_recall(const v1::Recall& recall, std::shared_ptr<Pages> store) {
  const auto it = regions_.find(recall.lease());
  Order order{recall, std::move(store), session_, 0, resumes_};
  if (it == regions_.end()) return answer(order, 0);  // released meanwhile: nothing is reachable
  order.grants = it->second->grants;
  in_lane([this, r = it->second, order](std::function<void()> done) { serve(r, order, std::move(done)); });
}

// As Region::release_given_up().
void Client::release_given_up(const Ptr& r) {
  if (r->given_up && r->session == session_ && !w_.plant.is("forget at a restart who has given up")) send(protocol::release(r->lease));
}

void Client::answer(const Order& order, int code) {
  if (session_ == order.session) send(protocol::recall_done(order.recall.recall(), {code, {}}));
}

void Client::serve(const Ptr& r, const Order& order, std::function<void()> done) {
  if (r->reclaiming) return r->after_reclaim.push_back([this, r, order, done] { serve(r, order, done); });
  if (order.grants != r->grants) return done();  // its daemon is gone, and so is what it wanted
  const auto over = [this, r, order, action = order.recall.action()] {  // as Region::serve()
    const bool ends_store = action == v1::ACTION_THAW || action == v1::ACTION_SETTLE;
    const bool again = r->given_up && action == v1::ACTION_RELEASE;
    answer(order, !r->gone && !again ? EKEYREVOKED : ends_store ? ECANCELED : 0);
  };
  if (r->gone || r->fenced) {
    over();
    return done();
  }
  if (misbehaves(r, order, done)) return;
  const auto go = [this, r, order, over, done = std::move(done)] {
    const client::Outcome known = protocol::check_recall(order.recall);
    if (!known.ok()) return w_.auditor.complain("wire: " + known.text);
    if (r->gone || r->fenced) {
      over();
      return done();
    }
    comply(r, order, [this, r, order, done](int code) {
      answer(order, code);
      if (order.recall.action() == v1::ACTION_RELEASE && code == 0) {
        r->fenced = r->given_up = true;
        if (order.resumes != resumes_) release_given_up(r);
      }
      done();
    });
  };
  Dice d(mix(w_.seed, 4, number_, w_.clock.now()));
  const Time slow = nature_ == Nature::Slow && !awake_ && d.chance(30) ? d.upto(w_.shape.policy.recall_deadline * 2) : 0;
  later(d.upto(w_.shape.think + 1) + slow, go);
}

bool Client::misbehaves(const Ptr& r, const Order& order, const std::function<void()>& done) {
  if (awake_) return false;
  Dice d(mix(w_.seed, 5, number_, w_.clock.now()));
  if (nature_ == Nature::Hung && d.chance(40)) {
    hung_.push_back([this, r, order, done] { serve(r, order, done); });
    return true;
  }
  if (nature_ == Nature::Refuser && d.chance(30)) {
    answer(order, EIO);
    done();
    return true;
  }
  if (nature_ == Nature::Crasher && d.chance(25)) {
    later(d.upto(w_.shape.think + 1), [this] { die(); });
    return true;
  }
  if (nature_ != Nature::Liar || !d.chance(40)) return false;
  r->lied = true;
  w_.auditor.forgive(r->lease);
  if (order.recall.action() == v1::ACTION_REREGISTER) r->size = std::clamp(order.recall.size(), r->extent.begin, r->extent.end);
  answer(order, 0);
  if (d.chance(30)) answer(order, 0);
  done();
  return true;
}

void Client::comply(const Ptr& r, const Order& order, const Done& done) {
  const bool direct = r->backing == Backing::Direct, coop = r->backing == Backing::OdpCooperative;
  const auto asks = [&](std::function<void()> then) { direct || coop ? quiesce(r, std::move(then)) : then(); };
  switch (order.recall.action()) {
    case v1::ACTION_QUIESCE: return quiesce(r, [this, r, done] { drop_mr(r, done); });
    case v1::ACTION_RELEASE:
      return quiesce(r, [this, r, done] {
        drop_mr(r, [this, r, done](int code) {
          if (code == 0 && session_ != r->session) return merge_locally(r, done);
          if (code == 0) r->surrender();
          done(code);
        });
      });
    case v1::ACTION_REREGISTER: return reregister(r, order, done);
    case v1::ACTION_DIRTY: {
      const u64 end = std::min(order.recall.offset() + order.recall.length(), r->size);
      for (u64 p = order.recall.offset() / kPage; p * kPage < end; ++p)
        if (r->file->holds(p)) r->file->pages[p].dirty = true;
      return done(0);
    }
    case v1::ACTION_TRIM:
      return asks([this, r, order, done] {
        move_to_store(r, order, false);
        done(0);
      });
    case v1::ACTION_SETTLE: return settle(r, order, done);
    case v1::ACTION_FREEZE:
      if (!direct) {
        move_to_store(r, order, coop);
        return done(0);
      }
      return quiesce(r, [this, r, order, done] {
        drop_mr(r, [this, r, order, done](int code) {
          if (code != 0) return done(code);
          move_to_store(r, order, false);
          make_mr(r, [this, r, done](int made) {
            restored(r);
            done(made);
          });
        });
      });
    case v1::ACTION_THAW: return asks([this, r, order, done] { thaw_store(r, order, done); });
    default: return done(EOPNOTSUPP);
  }
}

// The application is told, and whoever is between mrl_enter() and mrl_leave() is waited for.
void Client::quiesce(const Ptr& r, std::function<void()> then) {
  r->quiet = true;
  r->guard.close();
  const auto never = [] { return false; };
  if (r->guard.wait_drained(std::chrono::steady_clock::time_point::min(), never)) return then();
  r->drained = std::move(then);
}

// As the library's direct backing: whoever writes there already is not cut off, or is asked first.
void Client::reregister(const Ptr& r, const Order& order, const Done& done) {
  const u64 size = std::clamp(order.recall.size(), r->extent.begin, r->extent.end);
  const bool in_use = r->mr && !r->quiet;
  if (in_use && size == r->size) return done(0);
  const auto again = [this, r, size, done] {
    drop_mr(r, [this, r, size, done](int) {
      r->size = size;
      make_mr(r, [this, r, done](int code) {
        restored(r);
        done(code);
      });
    });
  };
  in_use ? quiesce(r, again) : again();
}

void Client::restored(const Ptr& r) {
  r->quiet = false;
  r->guard.open();
}

// The daemon is told first: it must not destroy a handle that may be somebody else's by then.
void Client::drop_mr(const Ptr& r, const Done& done) {
  if (!r->mr) return done(0);
  call_granter(r, protocol::remove_mr(r->lease, 1, r->mr->handle), [r, done](const wire::Frame& reply) {
    const client::Outcome o = protocol::expect(reply, wire::Frame::kStatus);
    if (!o.ok() && o.code != EKEYREVOKED && o.code != ENOTCONN) return done(o.code);  // no daemon, and the handle is ours still
    const bool lost = o.code == ENOTCONN && !r->mr->alive;  // whose daemon has hung up, and had destroyed it before
    World::destroy(*r->mr, *r->file, r->backing);
    r->mr.reset();
    r->usable = false;
    done(lost ? ENOTCONN : 0);
  });
}

void Client::make_mr(const Ptr& r, const Done& done) {
  if (r->mr || r->gone || r->fenced) return done(0);
  const u64 end = r->backing == Backing::Direct ? r->size : r->extent.end;
  if (end <= r->extent.begin) return done(0);
  if (r->lied && r->backing == Backing::Direct && end > (r->file->size + kPage - 1) / kPage * kPage) return done(EFAULT);  // nothing to pin
  r->mr = std::make_shared<Mr>();
  r->mr->handle = next_handle_++;
  r->mr->reach = {r->extent.begin, (end + kPage - 1) / kPage * kPage};
  w_.daemon.will_add(r->lease, r->mr);
  call_granter(r, protocol::add_mr(r->lease, {1, r->mr->handle, 7, 8, 0x10000, end - r->extent.begin}),
       [this, r, mr = r->mr, done](const wire::Frame& reply) {
         const client::Outcome o = protocol::expect(reply, wire::Frame::kStatus);
         // Without any daemon peers go on; one that has hung up protects the file for others, and is told of it first.
         const bool kept = o.ok() || (o.code == ENOTCONN && r->generation > 0 && !w_.daemon.listens());
         r->usable = kept;
         r->generation += kept;
         if (!kept) mr->alive = false;
         if (!kept && r->mr == mr) r->mr.reset();
         done(kept ? 0 : o.code);
       });
}

// [offset, offset + length) of the file comes to lie on the store. What a freeze holds there goes along.
void Client::move_to_store(const Ptr& r, const Order& order, bool copies) {
  const u64 store = order.recall.store();
  Region::Held& held = r->held[store];
  held.store = order.store;
  held.copies = copies;
  const u64 begin = order.recall.offset() / kPage - r->first();
  const u64 end = std::min((order.recall.offset() + order.recall.length() + kPage - 1) / kPage - r->first(), r->segments.pages());
  for (const Segment& s : r->segments.in(begin, end)) {
    if (s.kind == Kind::Orphan || (s.kind == Kind::Store && order.recall.action() == v1::ACTION_FREEZE)) continue;
    if (s.kind == Kind::Store) {
      auto& from = r->held.at(s.store).pages().written;
      for (u64 p = s.begin + r->first(); p < s.end + r->first(); ++p)
        if (const auto it = from.find(p); it != from.end()) held.pages().written[p] = it->second, from.erase(it);
    }
    r->segments.set(s.begin, s.end, Kind::Store, store);
  }
}

// In rounds, until nothing was written since the last one.
void Client::merge(const Ptr& r, u64 store, const Done& done) {
  const auto it = r->held.find(store);
  if (it == r->held.end()) return done(0);
  Region::Held& held = it->second;
  if (held.copies)
    for (const auto& [page, stamp] : std::exchange(held.own.written, {})) held.store->written[page] = stamp;
  if (!r->write) held.store->written.clear();
  std::vector<protocol::FileRange> ranges;
  for (const auto& [page, stamp] : held.store->written) ranges.push_back({page * kPage, kPage});
  std::vector<wire::Frame> frames = protocol::merges(r->lease, store, ranges);
  if (frames.empty()) return done(0);
  call_granter(r, frames.front(), [this, r, store, done](const wire::Frame& reply) {
    const client::Outcome o = protocol::expect(reply, wire::Frame::kStatus);
    if (o.code == ENOTCONN) return merge_locally(r, done);
    if (!o.ok() || r->fenced) return done(o.ok() ? EKEYREVOKED : o.code);
    merge(r, store, done);
  });
}

void Client::back_to_file(const Ptr& r, u64 store, u64 file_size) {
  if (w_.plant.is("put back what was cut off")) file_size = core::kToEnd - kPage;
  const u64 cut = (std::max(file_size, r->extent.begin) + kPage - 1) / kPage - r->first();
  for (const Segment& s : r->segments.of_store(store)) {
    if (s.begin < cut) r->segments.set(s.begin, std::min(s.end, cut), Kind::File);
    if (s.end > cut) r->segments.set(std::max(s.begin, cut), s.end, Kind::Orphan, store);
  }
  if (!r->segments.uses(store)) r->held.erase(store);
}

void Client::settle(const Ptr& r, const Order& order, const Done& done) {
  const u64 size = order.recall.size(), store = order.recall.store();
  w_.auditor.cut_off(r->lease, r->file->key, size);
  if (const auto it = r->held.find(store); it != r->held.end())  // what is cut off is nobody's to bring back
    std::erase_if(it->second.store->written, [size](const auto& w) { return w.first * kPage >= size; });
  merge(r, store, [this, r, size, store, done](int code) {
    if (code != 0) return done(code);
    back_to_file(r, store, size);
    r->size = std::min(r->size, std::clamp(size, r->extent.begin, r->extent.end));
    restored(r);
    if (w_.plant.is("new keys after a truncate")) return drop_mr(r, [this, r, done](int) { make_mr(r, done); });
    done(0);
  });
}

void Client::thaw_store(const Ptr& r, const Order& order, const Done& done) {
  const u64 store = order.recall.store();
  const auto merged = [this, r, store, done](int code) {
    if (code != 0) return done(code);
    back_to_file(r, store, core::kToEnd - kPage);
    if (r->backing != Backing::Direct) {
      restored(r);
      return done(0);
    }
    make_mr(r, [this, r, done](int made) {
      restored(r);
      done(made);
    });
  };
  if (r->backing != Backing::Direct) return merge(r, store, merged);
  drop_mr(r, [this, r, store, merged](int code) { code == 0 ? merge(r, store, merged) : merged(code); });
}

}  // namespace mrlease::sim
