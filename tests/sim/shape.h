// SPDX-License-Identifier: Apache-2.0
// What a seed stands for: a world's measures, and an endless list of moves. Both are functions of the seed alone.
#pragma once

#include "daemon/core/types.h"
#include "tests/sim/dice.h"

namespace mrlease::sim {

struct Shape {
  core::Policy policy;
  unsigned clients = 0, files = 0, pages = 0;
  unsigned leases_of_user = 0;
  core::Time wire = 0;   // the longest a message takes
  core::Time think = 0;  // the longest that a client which means well takes for a recall
  core::Time work = 0;   // the longest that the daemon's file work takes, when it does not hang
  bool crowd = false;    // thousands of clients that are all there from the start
};

enum class Act : std::uint8_t {
  Register, Release, Extend, Rdma, Post, Foreign, Kill, Sync, Freeze, Thaw, AdminRevoke, AdminFreeze, AdminThaw, AdminSync,
  AdminDrain, Reload, Forge, Die, HangUp, Stop, Continue, Restart, Vanish, Wait
};

struct Move {
  unsigned number = 0;
  Act act = Act::Wait;
  core::Time gap = 0;  // since the move before it
  u64 luck = 0;        // of all that it draws
};

Shape shape_of(u64 seed);
Move move_of(u64 seed, unsigned number);
const char* name(Act act);

}  // namespace mrlease::sim
