// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/world.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>

#include "tests/unit/core/trace.h"

namespace mrlease::sim {

using core::BreakKind;

World::World(u64 of, const std::string& planted, bool is_loud)
    : seed(of), shape(shape_of(of)), loud(is_loud), plant(planted), auditor(*this), daemon(*this), foreign(*this) {
  for (unsigned i = 0; i < shape.files; ++i) {
    File f;
    f.key = {1, i + 1};
    f.size = shape.pages * kPage;
    f.pages.resize(shape.pages + 1);
    files.push_back(std::move(f));
  }
  for (unsigned i = 0; i < shape.clients; ++i) clients.push_back(std::make_unique<Client>(*this, i));
}

void World::to_file(File& f, u64 page, u64 stamp, core::LeaseId lease, bool dirties, u64 let_go) {
  if (!f.holds(page)) return;
  auditor.wrote(f, page, stamp, lease, let_go);
  f.put(page, stamp, dirties);
}

void World::destroy(Mr& mr, File& f, core::Backing backing) {
  if (mr.alive && backing == core::Backing::Direct)
    for (u64 p = mr.reach.begin / kPage; p * kPage < mr.reach.end; ++p)
      if (f.holds(p)) f.pages[p].dirty = true;
  mr.alive = false;
}

std::uint32_t World::user_of(core::SessionId session) const {
  return users.at(session);
}

bool World::means_well(core::SessionId session) const {
  const auto it = by_session.find(session);
  return it != by_session.end() && it->second->nature() == Nature::Honest && was_stopped.count(session) == 0;
}

bool World::loses_by_fence(core::LeaseId lease) const {
  const auto it = regions.find(lease);
  return it != regions.end() && it->second->backing == core::Backing::OdpCooperative && !it->second->held.empty();
}

void World::note(const core::Event& event, const core::Effects& effects) {
  if (!loud) return;
  std::printf("%8" PRIu64 "  %s\n", clock.now(), core::describe(event).c_str());
  for (const core::Effect& e : effects) std::printf("          %s\n", core::describe(e).c_str());
}

void World::pass(Time time) {
  const Time until = clock.now() + time;
  while (good() && clock.go(until)) {
  }
  auditor.check_waits(clock.now());
}

void World::move(const Move& m, Time gap) {
  pass(gap);
  if (!good()) return;
  Dice d(m.luck);
  Client& client = *clients[d.upto(clients.size())];
  const u64 luck = d.next();
  if (loud) std::printf("%8" PRIu64 "  -- move %u: %s (client %u)\n", clock.now(), m.number, name(m.act), client.number());
  switch (m.act) {
    case Act::Register: return client.ask_for_lease(luck);
    case Act::Release: return client.release(luck);
    case Act::Extend: return client.extend(luck);
    case Act::Rdma: return client.rdma_write(luck);
    case Act::Post: return client.post(luck);
    case Act::Foreign: return foreign.arrive(luck);
    case Act::Kill: return foreign.kill(luck);
    case Act::Sync: return client.sync(luck);
    case Act::Freeze: return client.freeze(luck);
    case Act::Thaw: return client.thaw(luck);
    case Act::Forge: return client.forge(luck);
    case Act::Die: return client.die();
    case Act::HangUp: return daemon.hang_up(client.session());
    case Act::Stop:
      if (client.session() != 0) was_stopped.insert(client.session());
      return client.stop();
    case Act::Continue: return client.go_on();
    case Act::Restart: return daemon.restart(luck);
    case Act::Vanish: return daemon.vanish(luck);
    case Act::Wait: return;
    default: return admin(m);
  }
}

void World::admin(const Move& m) {
  Dice d(mix(m.luck, 1));
  const File& f = files[d.upto(files.size())];
  const u64 begin = d.upto(shape.pages) * kPage;
  const core::Extent extent = d.chance(50) ? core::Extent{} : core::Extent{begin, begin + (1 + d.upto(8)) * kPage};
  const auto ids = daemon.lease_ids();
  switch (m.act) {
    case Act::AdminRevoke: {
      if (ids.empty()) return;
      const core::LeaseId id = ids[d.upto(ids.size())];
      const auto it = regions.find(id);
      if (it != regions.end()) daemon.admin(BreakKind::Revoke, *it->second->file, it->second->extent, 0, id);
      return;
    }
    case Act::AdminFreeze: return daemon.admin(BreakKind::Freeze, f, extent, d.upto(4000), 0);
    case Act::AdminThaw: return daemon.admin_thaw(d.next());
    case Act::AdminSync: return daemon.admin(BreakKind::Sync, f, extent, 0, 0);
    case Act::AdminDrain:
      auditor.coverage().happened("drain of a file system");
      for (const File& each : files) daemon.admin(BreakKind::Revoke, each, {}, 0, 0);
      return;
    case Act::Reload: {
      core::Policy p = shape.policy;
      p.recall_deadline += d.upto(p.recall_deadline);
      p.fence_deadline += d.upto(p.fence_deadline);
      p.passing_bound += d.upto(p.passing_bound);
      auditor.reloaded(p);
      return daemon.reload(p);
    }
    default: return;
  }
}

bool World::quiet() const {
  const bool finding = std::any_of(clients.begin(), clients.end(), [](const auto& c) { return c->finding(); });
  return !finding && daemon.quiet() && foreign.quiet();
}

// Everybody does what was asked; then nothing may be left.
void World::drain() {
  draining = true;
  for (auto& c : clients) c->wake();
  for (int round = 0; round < 400 && good(); ++round) {
    if (daemon.policy().writeback_interval != 0) {  // else something is always about to begin
      core::Policy calm = daemon.policy();
      calm.writeback_interval = 0;
      daemon.reload(calm);
    }
    foreign.hurry();
    pass(round < 20 ? 50 : 1000);
    if (quiet()) break;
  }
  pass(5000);  // what is on its way to clients
  if (good() && !quiet()) auditor.complain("something is under way, and never ends");
}

void World::finish() {
  drain();
  if (good()) auditor.drained();
  for (auto& c : clients) {
    if (!good()) return;
    if (c->number() % 3 == 0)
      for (int i = 0; i < 4; ++i) c->release(0), pass(100);
    c->die();
  }
  drain();
  if (!good()) return;
  auditor.ended();
  if (daemon.leases() != 0) auditor.complain("the daemon keeps " + std::to_string(daemon.leases()) + " leases of nobody");
  if (daemon.arbiter().leases() != 0) auditor.complain("the arbiter keeps leases of nobody");
}

void World::gather() {
  if (!shape.crowd) return;
  for (auto& c : clients) c->ask_for_lease(mix(seed, 9, c->number())), pass(1);
}

void World::run(const std::vector<unsigned>& moves) {
  gather();
  unsigned next = 0;
  for (const unsigned n : moves) {
    if (!good()) return;
    Time gap = 0;  // each at its time, whatever was left out
    for (; next <= n; ++next) gap += move_of(seed, next).gap;
    move(move_of(seed, n), gap);
  }
  finish();
}

std::vector<unsigned> World::run_for(u64 steps) {
  gather();
  const u64 least = auditor.steps() + std::max<u64>(steps, clients.size());  // so that of thousands each may come to something
  std::vector<unsigned> moves;
  for (unsigned n = 0; good() && auditor.steps() < least && n < 100000; ++n) {
    moves.push_back(n);
    const Move m = move_of(seed, n);
    move(m, m.gap);
  }
  if (good()) finish();
  return moves;
}

}  // namespace mrlease::sim
