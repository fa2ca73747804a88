// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/client.h"

#include <algorithm>
#include <cerrno>

#include "daemon/session/translate.h"
#include "tests/sim/world.h"

namespace mrlease::sim {

using core::Backing;

namespace {

Nature nature_of(u64 seed, unsigned number) {
  Dice d(mix(seed, 3, number));
  constexpr Nature kNot[] = {Nature::Slow, Nature::Hung, Nature::Liar, Nature::Refuser, Nature::Crasher};
  return d.chance(60) ? Nature::Honest : kNot[d.upto(5)];
}

wire::Frame not_connected() {
  wire::Frame f;
  f.mutable_status()->set_code(ENOTCONN);
  return f;
}

}  // namespace

void Region::surrender() {
  for (auto& [id, h] : held)
    if (h.copies)
      for (const auto& [page, stamp] : std::exchange(h.own.written, {})) h.store->written[page] = stamp;
}

bool Region::reaches(u64 page) const {
  return mr && mr->alive && usable && mr->reach.overlaps({page * kPage, (page + 1) * kPage});
}

bool Region::reaches_file(u64 page) const {
  return backing != Backing::Bounce && reaches(page) && at(page).kind == client::Segment::Kind::File;
}

Client::Client(World& world, unsigned number) : w_(world), number_(number), nature_(nature_of(world.seed, number)) {}

bool Client::connect() {
  if (dead_) {  // another process of the same user
    dead_ = stopped_ = false;
    ++life_;
  }
  if (finding_) return false;
  return (session_ != 0 || meet_daemon()) && !stopped_;
}

bool Client::meet_daemon() {
  session_ = w_.daemon.accept(*this);
  if (session_ == 0) return false;
  w_.by_session[session_] = this;
  w_.users[session_] = user();
  sessions_.push_back(session_);
  return true;
}

void Client::later(Time delay, std::function<void()> what) {
  w_.clock.in(delay, [this, life = life_, what = std::move(what)] {
    if (dead_ || life_ != life) return;
    if (stopped_) return parked_.push_back(what);
    what();
  });
}

void Client::send(wire::Frame frame, std::shared_ptr<Pages> memory, const File* file, Ptr reclaims) {
  if (session_ == 0) return;
  if (!frame.id()) frame.set_id(next_frame_++);
  Message m = pack(frame, std::move(memory), file);
  m.reclaims = std::move(reclaims);
  w_.daemon.from_client(session_, std::move(m));
}

// Without a connection: ENOTCONN, as Connection::call().
void Client::call(wire::Frame frame, Then then, std::shared_ptr<Pages> memory, const File* file, Ptr reclaims) {
  if (session_ == 0) return later(0, [then = std::move(then)] { then(not_connected()); });
  frame.set_id(next_frame_++);
  waiting_[frame.id()] = {frame, memory, file, std::move(then), reclaims};
  send(std::move(frame), std::move(memory), file, std::move(reclaims));
}

// The daemon that has granted it: another one knows nothing of this lease, or one of that number that is another region's.
void Client::call_granter(const Ptr& r, wire::Frame frame, Then then) {
  if (r->session == session_) return call(std::move(frame), std::move(then));
  later(0, [then = std::move(then)] { then(not_connected()); });
}

void Client::forget(const Ptr& r) {
  if (const auto it = regions_.find(r->lease); it != regions_.end() && it->second == r) regions_.erase(it);
}

void Client::on_packet(Message message) {
  if (dead_) return;
  if (stopped_) return inbox_.push_back(std::move(message));
  handle(message);
}

void Client::handle(const Message& message) {
  wire::Frame f;
  if (!unpack(message, &f)) return w_.auditor.complain("wire: the daemon's frame does not decode");
  came_with_ = message.memory;
  if (f.has_recall()) return on_recall(f.recall(), message.memory);
  if (f.has_resume()) return on_resume(f.resume().start());
  if (f.has_notice()) {
    if (f.notice().kind() == wire::v1::Notice::FENCED) fenced_by_kernel(f.notice().lease());
    return;
  }
  const auto it = waiting_.find(f.reply_to());
  if (it == waiting_.end()) return;
  Waiting w = std::move(it->second);
  waiting_.erase(it);
  if (f.has_status() && f.status().code() == ERESTART) return call(std::move(w.frame), std::move(w.then), w.memory, w.file, w.reclaims);
  w.then(f);
}

// What the new daemon must be told; then the devices are handed over again.
void Client::on_resume(u64 start) {
  std::vector<std::uint64_t> ids;
  for (const auto& [id, w] : waiting_) ids.push_back(id);
  send(protocol::resumed(ids, start));
  ++resumes_;
  for (const Ptr& r : all_regions()) release_given_up(r);
  later(w_.shape.think, [this] { call(protocol::add_device("rxe0", 0, 1), [](const wire::Frame&) {}, std::make_shared<Pages>()); });
}

std::vector<Client::Ptr> Client::all_regions() const {
  std::vector<Ptr> all = unclaimed_;
  for (const auto& [id, r] : regions_) all.push_back(r);
  return all;
}

Client::Ptr Client::some_region(Dice& dice) const {
  if (regions_.empty()) return {};
  auto it = regions_.begin();
  std::advance(it, static_cast<long>(dice.upto(regions_.size())));
  return it->second;
}

void Client::ask_for_lease(u64 luck) {
  if (!connect()) return;
  Dice d(luck);
  File& file = w_.files[d.upto(w_.files.size())];
  const u64 pages = file.size / kPage;
  if (pages == 0) return;
  protocol::LeaseRequest ask;
  const u64 begin = d.upto(pages), most = w_.shape.crowd ? 2 : pages - begin;
  ask.range = {begin * kPage, std::min((1 + d.upto(most)) * kPage, file.size - begin * kPage)};
  if (d.chance(20)) ask.range.length -= d.upto(kPage);
  ask.write = d.chance(80);
  const auto backing = static_cast<Backing>(d.upto(core::kBackings));
  ask.backing = session::to_wire(backing);
  ask.share = d.chance(85);
  call(protocol::register_lease(ask), [this, &file, ask](const wire::Frame& reply) {
    if (client::Outcome o = protocol::expect(reply, wire::Frame::kGranted); o.ok()) granted(reply, file, ask, came_with_);
  }, {}, &file);
}

void Client::granted(const wire::Frame& reply, File& file, const protocol::LeaseRequest& asked, std::shared_ptr<Pages> memory) {
  const auto& g = reply.granted();
  w_.auditor.covered(g.lease(), g.guard());
  const core::Extent extent{asked.range.offset, asked.range.offset + asked.range.length};
  auto r = std::make_shared<Region>(g.lease(), file, extent, *session::to_core(asked.backing), asked.write);
  r->session = session_;
  r->share = asked.share;
  r->size = std::clamp(g.file_size(), extent.begin, extent.end);
  r->bounce = std::move(memory);
  regions_[r->lease] = r;
  w_.regions[r->lease] = r;
  in_lane([this, r](std::function<void()> done) {
    make_mr(r, [this, r, done](int code) {
      restored(r);
      done();
      if (code == 0 || r->generation > 0 || r->gone) return;
      r->gone = true;  // as Region::give_up_lease()
      call_granter(r, protocol::release(r->lease), [this, r](const wire::Frame&) { forget(r); });
    });
  });
}

// Its memory regions go first, then the lease: as Region::dereg().
void Client::release(u64 luck) {
  Dice d(luck);
  const Ptr r = some_region(d);
  if (!r || r->gone || stopped_ || dead_) return;
  in_lane([this, r](std::function<void()> done) {
    if (r->gone) return done();
    const auto ends = [this, r](const wire::Frame& reply) {  // the daemon goes meanwhile: what it owed is ours to write
      const auto over = [this, r](int) { forget(r); };
      protocol::expect(reply, wire::Frame::kStatus).code == ENOTCONN ? merge_locally(r, over) : over(0);
    };
    const auto give_up = [this, r, ends, done](int) {
      r->surrender();
      r->gone = true;
      call_granter(r, protocol::release(r->lease), ends);
      done();
    };
    r->mr ? drop_mr(r, give_up) : give_up(0);
  });
}

void Client::extend(u64 luck) {
  Dice d(luck);
  const Ptr r = some_region(d);
  if (!r || r->gone || r->fenced || stopped_ || dead_) return;
  call_granter(r, protocol::extend(r->lease), [this, r](const wire::Frame& reply) {
    if (!reply.has_extended()) return;
    in_lane([this, r, size = reply.extended().file_size()](std::function<void()> done) {
      if (r->gone || r->fenced) return done();
      r->size = std::max(r->size, std::clamp(size, r->extent.begin, r->extent.end));
      const u64 cut = (std::min(size, r->extent.end) + kPage - 1) / kPage;
      for (const client::Segment& s : r->segments.in(0, cut > r->first() ? cut - r->first() : 0))
        if (s.kind == client::Segment::Kind::Orphan) r->segments.set(s.begin, s.end, client::Segment::Kind::File);
      if (r->backing != Backing::Direct) return done();
      drop_mr(r, [this, r, done](int) { make_mr(r, [done](int) { done(); }); });
    });
  });
}

void Client::rdma_write(u64 luck) {
  Dice d(luck);
  const std::vector<Ptr> all = all_regions();  // peers go on, whoever has hung up
  const Ptr r = all.empty() ? Ptr{} : all[d.upto(all.size())];
  if (!r || !r->write || r->quiet) return;
  for (u64 n = d.between(1, 3); n > 0; --n) {
    const u64 page = r->first() + d.upto(r->segments.pages());
    if (!r->reaches(page)) continue;
    const u64 stamp = ++w_.stamps;
    bool copies = false;
    if (r->bounce) {
      if (page * kPage >= r->bounce->end || !r->file->holds(page)) continue;
      r->bounce->written[page] = stamp;
    } else if (const client::Segment s = r->at(page); s.kind == client::Segment::Kind::File) {
      if (!r->file->holds(page)) {
        if (r->backing != Backing::Direct) w_.auditor.peer_failed(r->lease, page);
        continue;
      }
      w_.to_file(*r->file, page, stamp, r->lease, r->backing != Backing::Direct);
    } else if (s.kind == client::Segment::Kind::Store) {
      if (!r->file->holds(page)) continue;
      copies = r->held.at(s.store).copies;
      r->held.at(s.store).pages().written[page] = stamp;
    } else {
      continue;
    }
    w_.auditor.acknowledged(r->lease, r->file->key, page, stamp, copies);
  }
}

void Client::post(u64 luck) {
  Dice d(luck);
  const Ptr r = some_region(d);
  if (!r || dead_ || r->guard.enter() != 0) return;
  later(d.upto(w_.shape.think + 1), [r] {
    r->guard.leave();
    if (r->drained) std::exchange(r->drained, {})();
  });
}

void Client::sync(u64 luck) {
  if (!connect()) return;
  Dice d(luck);
  const File& file = w_.files[d.upto(w_.files.size())];
  const u64 begin = d.upto(w_.shape.pages) * kPage;
  const protocol::FileRange range = d.chance(50) ? protocol::FileRange{} : protocol::FileRange{begin, (1 + d.upto(8)) * kPage};
  for (unsigned n = d.chance(4) ? core::kApiBreaksMax * 2 : 1; n > 0; --n)
    call(protocol::sync_file(range), [](const wire::Frame&) {}, {}, &file);
}

void Client::freeze(u64 luck) {
  if (!connect()) return;
  Dice d(luck);
  const File& file = w_.files[d.upto(w_.files.size())];
  const u64 begin = d.upto(w_.shape.pages) * kPage;
  const protocol::FileRange range = d.chance(60) ? protocol::FileRange{} : protocol::FileRange{begin, (1 + d.upto(8)) * kPage};
  call(protocol::freeze_file(range, static_cast<std::uint32_t>(d.upto(4000))), [this](const wire::Frame& reply) {
    if (reply.has_frozen()) freezes_.push_back(reply.frozen().freeze());
  }, {}, &file);
}

void Client::thaw(u64 luck) {
  if (freezes_.empty() || stopped_ || dead_) return;
  const auto it = freezes_.begin() + static_cast<long>(luck % freezes_.size());
  call(protocol::thaw_file(*it), [](const wire::Frame&) {});
  freezes_.erase(it);
}

void Client::forge(u64 luck) {
  if (nature_ != Nature::Liar || !connect()) return;
  const std::vector<u64> recalls = w_.auditor.outstanding_of_others(session_);
  if (!recalls.empty()) send(protocol::recall_done(recalls[luck % recalls.size()], {}));
}

void Client::go_on() {
  stopped_ = false;
  for (const Message& m : std::exchange(inbox_, {})) on_packet(m);
  for (auto& what : std::exchange(parked_, {})) stopped_ || dead_ ? parked_.push_back(what) : what();
}

void Client::die() {
  if (dead_ || (session_ == 0 && !finding_)) return;
  dead_ = true;
  const std::vector<Ptr> all = all_regions();
  for (const Ptr& r : all) {
    w_.auditor.died(r->lease);
    if (r->backing == Backing::OdpCooperative && !r->held.empty()) w_.auditor.forgive(r->lease);  // private copies die with it
  }
  w_.by_session.erase(session_);
  session_ = 0;
  finding_ = false;
  waiting_.clear();
  inbox_.clear();
  parked_.clear();
  lane_.clear();
  hung_.clear();
  lane_busy_ = false;
  freezes_.clear();
  regions_.clear();
  unclaimed_.clear();
  w_.daemon.client_ended(std::exchange(sessions_, {}), all);
}

void Client::fenced_by_kernel(u64 lease) {
  const auto it = regions_.find(lease);
  if (it == regions_.end() || it->second->fenced) return;
  it->second->fenced = true;
  it->second->guard.revoke();
  if (it->second->drained) std::exchange(it->second->drained, {})();
  if (it->second->mr) World::destroy(*it->second->mr, *it->second->file, it->second->backing);
}

void Client::wake() {
  awake_ = true;
  if (stopped_) go_on();
  for (auto& what : std::exchange(hung_, {})) what();
}

}  // namespace mrlease::sim
