// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/shape.h"

#include <array>
#include <cstddef>

namespace mrlease::sim {
namespace {

struct Weight {
  Act act;
  unsigned of_thousand;
  const char* name;
};

constexpr std::array kWeights = {
    Weight{Act::Register, 150, "register"},      Weight{Act::Release, 25, "release"},
    Weight{Act::Extend, 20, "extend"},           Weight{Act::Rdma, 260, "rdma write"},
    Weight{Act::Post, 20, "post"},               Weight{Act::Foreign, 220, "foreign operation"},
    Weight{Act::Kill, 10, "kill a foreign task"}, Weight{Act::Sync, 40, "sync"},
    Weight{Act::Freeze, 25, "freeze"},           Weight{Act::Thaw, 20, "thaw"},
    Weight{Act::AdminRevoke, 12, "admin revoke"}, Weight{Act::AdminFreeze, 10, "admin freeze"},
    Weight{Act::AdminThaw, 10, "admin thaw"},    Weight{Act::AdminSync, 8, "admin sync"},
    Weight{Act::AdminDrain, 2, "admin drain"},   Weight{Act::Reload, 4, "reload"},
    Weight{Act::Forge, 25, "forge an answer"},   Weight{Act::Die, 12, "client dies"},
    Weight{Act::HangUp, 8, "daemon hangs up"},  Weight{Act::Stop, 10, "SIGSTOP"},
    Weight{Act::Continue, 14, "SIGCONT"},        Weight{Act::Restart, 8, "daemon restarts"},
    Weight{Act::Vanish, 3, "daemon is gone for good"}, Weight{Act::Wait, 84, "wait"},
};

constexpr unsigned total() {
  unsigned sum = 0;
  for (const Weight& w : kWeights) sum += w.of_thousand;
  return sum;
}
static_assert(total() == 1000);

}  // namespace

Shape shape_of(u64 seed) {
  Dice d(mix(seed, 1));
  Shape s;
  core::Policy& p = s.policy;
  p.recall_deadline = d.between(200, 2000);
  p.fence_deadline = d.between(50, 500);
  p.passing_bound = d.between(100, 1000);
  p.work_deadline = d.between(500, 5000);
  p.freeze_hold_max = d.between(1000, 8000);
  p.on_timeout = d.chance(60) ? core::OnTimeout::Fence : d.chance(50) ? core::OnTimeout::Deny : core::OnTimeout::Kill;
  p.freeze_conflict = d.chance(60)   ? core::FreezeConflict::Wait
                      : d.chance(50) ? core::FreezeConflict::Thaw
                                     : core::FreezeConflict::Allow;
  s.crowd = d.chance(1);
  s.clients = static_cast<unsigned>(s.crowd ? d.between(1000, 4000) : d.chance(30) ? d.between(20, 200) : d.between(2, 12));
  s.files = static_cast<unsigned>(d.between(1, 4));
  s.pages = static_cast<unsigned>(s.crowd ? 8192 : d.between(4, 48));
  s.leases_of_user = static_cast<unsigned>(d.between(3, 8));
  s.wire = d.between(0, p.recall_deadline / 200);
  s.think = d.between(0, p.recall_deadline / 100);
  s.work = d.between(0, p.work_deadline / 4);
  if (d.chance(25)) p.writeback_interval = d.between(300, 5000);
  return s;
}

Move move_of(u64 seed, unsigned number) {
  Dice d(mix(seed, 2, number));
  Move m;
  m.number = number;
  u64 roll = d.upto(1000);
  for (const Weight& w : kWeights) {
    m.act = w.act;
    if (roll < w.of_thousand) break;
    roll -= w.of_thousand;
  }
  m.gap = d.chance(90) ? d.upto(40) : d.upto(400);
  if (m.act == Act::Wait) m.gap = d.chance(90) ? d.upto(400) : d.upto(6000);
  m.luck = d.next();
  return m;
}

const char* name(Act act) {
  for (const Weight& w : kWeights)
    if (w.act == act) return w.name;
  return "?";
}

}  // namespace mrlease::sim
