// SPDX-License-Identifier: Apache-2.0
// One simulated host: files, clients, foreign tasks, a daemon, and the auditor. One run is one world.
#pragma once

#include <memory>
#include <vector>

#include "tests/sim/auditor.h"
#include "tests/sim/client.h"
#include "tests/sim/clock.h"
#include "tests/sim/daemon.h"
#include "tests/sim/foreign.h"
#include "tests/sim/plant.h"
#include "tests/sim/shape.h"

namespace mrlease::sim {

struct World {
  World(u64 seed, const std::string& plant, bool loud);
  // The moves with these numbers, then everybody does what was asked, then everybody goes.
  void run(const std::vector<unsigned>& moves);
  // As many moves as it takes; their numbers.
  std::vector<unsigned> run_for(u64 steps);
  bool good() const { return auditor.complaints().empty(); }

  const u64 seed;
  Shape shape;
  const bool loud;
  bool draining = false;
  u64 stamps = 0;  // counts writes by RDMA
  Clock clock;
  Plant plant;
  std::vector<File> files;
  std::map<core::LeaseId, std::shared_ptr<Region>> regions;  // until the daemon has forgotten the lease
  Auditor auditor;
  Daemon daemon;
  Foreign foreign;
  std::vector<std::unique_ptr<Client>> clients;

  File& file(const core::FileKey& key) { return files[key.inode - 1]; }
  void to_file(File& file, u64 page, u64 stamp, core::LeaseId lease, bool dirties, u64 let_go = ~u64{0});
  static void destroy(Mr& mr, File& file, core::Backing backing);  // what is unpinned is dirty
  std::uint32_t user_of(core::SessionId session) const;
  bool means_well(core::SessionId session) const;  // it complies in time, and can
  bool loses_by_fence(core::LeaseId lease) const;  // private copies
  void note(const core::Event& event, const core::Effects& effects);
  std::map<core::SessionId, Client*> by_session;
  std::map<core::SessionId, std::uint32_t> users;  // also of sessions that have ended
  std::set<core::SessionId> was_stopped;

 private:
  void move(const Move& m, Time gap);
  void admin(const Move& m);
  void pass(Time time);
  void gather();  // a crowd is all there from the start
  bool quiet() const;
  void drain();
  void finish();
};

}  // namespace mrlease::sim
