// SPDX-License-Identifier: Apache-2.0
// File work, fences and the rescue of stores, as daemon/session/works.cc and fencing.cc have them.
#include <algorithm>

#include "daemon/core/extents.h"
#include "tests/sim/world.h"

namespace mrlease::sim {

using core::Backing;
using core::Work;

File& Daemon::file(const core::FileKey& key) { return w_.file(key); }

void Daemon::flush(Hold& hold) {
  if (!hold.write) return;
  for (const auto& [page, stamp] : std::exchange(hold.bounce->written, {}))
    if (page * kPage < hold.bounce->end) w_.to_file(*hold.file, page, stamp, hold.id, true);
}

void Daemon::work(const core::effect::StartWork& e, Hold* hold, u64 file_end) {
  Pages* bounce = hold != nullptr ? hold->bounce.get() : nullptr;
  switch (e.kind) {
    case Work::Flush:
    case Work::FreezeFlush:
      if (bounce != nullptr) flush(*hold);
      return;
    case Work::Merge:  // what a foreign write changed is not what is looked at here
    case Work::ResumeFlush:
      if (bounce == nullptr) return;
      bounce->end = std::min(bounce->end, file_end);
      hold->size_told = std::min(hold->size_told, file_end);
      w_.auditor.cut_off(hold->id, hold->file->key, file_end);
      bounce->written.erase(bounce->written.lower_bound((file_end + kPage - 1) / kPage), bounce->written.end());
      return;
    case Work::Writeback:
      if (hold != nullptr && hold->backing == Backing::Direct)
        for (u64 p = hold->extent.begin / kPage; p * kPage < std::min(hold->extent.end, file_end); ++p)
          if (hold->file->holds(p)) hold->file->pages[p].dirty = true;
      [[fallthrough]];
    case Work::Fsync:
      if (bounce != nullptr) flush(*hold);
      return file(e.file).sync();
    case Work::HoldFlush:
    case Work::None: return;
  }
}

void Daemon::apply(const core::effect::StartWork& e) {
  const HoldPtr hold = find(e.lease);
  const auto done = [this, e](int code) { step(core::event::WorkDone{e.work, code}); };
  if (hold && !hold->bounce && e.kind == Work::Flush) return rescue(hold, [done] { done(0); });
  const u64 file_end = hold ? std::max(size_left(*hold), hold->extent.begin) : 0;
  Dice d(luck());
  const bool on_disk = e.kind != Work::HoldFlush && e.kind != Work::ResumeFlush && e.kind != Work::Merge;  // the others cannot fail
  const bool hangs = on_disk && !w_.draining && d.chance(1), fails = on_disk && !w_.draining && !hangs && d.chance(2);
  if ((hangs || fails) && hold && hold->bounce) w_.auditor.forgive(hold->id, *hold->bounce);
  if (hangs) return later(policy_.work_deadline * 2, [done] { done(0); });
  later(d.upto(w_.shape.work + 1), [this, e, hold, file_end, fails, done] {
    if (!fails) work(e, hold.get(), file_end);
    done(fails ? EIO : 0);
  });
}

void Daemon::fence(const HoldPtr& hold, bool kill, std::function<void(bool)> done) {
  if (hold->destroyed) return done(true);
  if (hold->fencing) return hold->after_fence.push_back([done = std::move(done)] { done(true); });
  kill = kill || has_unknown_mrs(*hold);
  fence_session(hold->session, {hold}, kill, [this, hold, done = std::move(done)](bool destroyed) {
    if (destroyed) return done(true);
    std::vector<HoldPtr> all;
    for (const auto& [id, h] : holds_)
      if (h->session == hold->session) all.push_back(h);
    destroy(all);  // the process is dead, and the duplicates of its descriptors are closed
    if (Session* s = session(hold->session)) close_duplicates(*s);
    done(false);
  });
}

// Whoever asks while a fence runs waits for that one. done(false): the client was killed.
void Daemon::fence_session(core::SessionId id, std::vector<HoldPtr> holds, bool kill, std::function<void(bool)> done) {
  std::erase_if(holds, [](const HoldPtr& h) { return h->destroyed; });
  auto waits = std::make_shared<std::size_t>(1);
  auto result = std::make_shared<bool>(true);
  const auto one_less = [waits, result, done = std::move(done)] {
    if (--*waits == 0) done(*result);
  };
  for (const HoldPtr& h : holds)
    if (h->fencing) {
      ++*waits;
      h->after_fence.push_back(one_less);
    }
  std::erase_if(holds, [](const HoldPtr& h) { return h->fencing; });
  for (const HoldPtr& h : holds) h->fencing = true;
  if (holds.empty() && !kill) return one_less();
  Session* s = session(id);
  Dice d(luck());
  const Time bound = std::max<Time>(policy_.fence_deadline * 3 / 4, 1);
  const bool hangs = !w_.draining && d.chance(2), has_mrs = std::any_of(holds.begin(), holds.end(), [](const HoldPtr& h) { return !h->mrs.empty(); });
  const bool fails = kill || (has_mrs && s != nullptr && !s->devices) || d.chance(10);
  const Time takes = hangs ? policy_.fence_deadline * 10 : fails && !kill ? bound : d.upto(bound);
  later(takes, [this, id, holds, fails, result, one_less] {
    Session* still = session(id);
    if (fails && still != nullptr && !still->ended) {
      *result = false;
      still->client->die();
    }
    for (const HoldPtr& h : holds) {
      destroy({h});
      h->destroyed = true;
      for (auto& next : std::exchange(h->after_fence, {})) next();
    }
    one_less();
  });
}

void Daemon::destroy(std::vector<HoldPtr> holds) {
  for (const HoldPtr& h : holds) {
    for (const auto& mr : h->mrs) World::destroy(*mr, *h->file, h->backing);
    h->mrs.clear();
  }
}

void Daemon::close_duplicates(Session& s) {
  for (const auto& r : std::exchange(s.left, {}))
    if (r->mr) World::destroy(*r->mr, *r->file, r->backing);
}

// Of leases that end between a Trim and its Settle. One that is frozen is the arbiter's to bring to the file, at the thaw.
void Daemon::rescue_trimmed(const std::vector<HoldPtr>& holds, std::function<void()> done) {
  auto waits = std::make_shared<std::size_t>(1);
  const auto one_less = [waits, done = std::move(done)] {
    if (--*waits == 0) done();
  };
  for (const HoldPtr& h : holds) {
    const bool of_freeze = std::any_of(h->stores.begin(), h->stores.end(), [](const Store& s) { return !s.trim; });
    const bool frozen = of_freeze && arbiter_->has_frozen_store(h->id);
    if (!h->rescuing && (h->stores.empty() || frozen)) continue;
    ++*waits;
    rescue(h, one_less);
  }
  one_less();
}

u64 Daemon::size_left(const Hold& hold) const {
  const core::Lease* known = arbiter_->find(hold.id);
  return known != nullptr ? core::size_left(*known, hold.file->size) : hold.file->size;
}

void Daemon::rescue(const HoldPtr& hold, std::function<void()> done) {
  if (hold->rescuing) return hold->after_rescue.push_back(std::move(done));
  std::vector<Store> stores;
  stores.swap(hold->stores);
  std::erase_if(stores, [](const Store& s) { return !s.live; });
  if (stores.empty() || !hold->write) return done();
  hold->rescuing = true;
  const u64 end = std::min({hold->extent.end, hold->size_told, size_left(*hold)});
  const auto kept = std::make_shared<std::vector<Store>>(stores);
  hold->stores = {};
  rescued_[hold->id] = *kept;
  later(luck() % (w_.shape.work + 1), [this, hold, kept, end, done = std::move(done)] {
    for (const Store& s : *kept)
      for (const auto& [page, stamp] : std::exchange(s.memory->written, {}))
        if (page * kPage >= std::min(s.extent.end, end)) w_.auditor.cut_off(hold->id, hold->file->key, page * kPage);
        else w_.to_file(*hold->file, page, stamp, hold->id, true);
    rescued_.erase(hold->id);
    hold->rescuing = false;
    done();
    for (auto& next : std::exchange(hold->after_rescue, {})) next();
  });
}

}  // namespace mrlease::sim
