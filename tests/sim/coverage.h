// SPDX-License-Identifier: Apache-2.0
// Which rows of the break table, and which situations, the schedules have reached. The table stands here as the design has
// it, written down a second time: what the arbiter does and this does not name is a fault.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "daemon/core/events.h"

namespace mrlease::sim {

class Coverage {
 public:
  // A collapse is a row of its own: it ends as a truncate does.
  struct Cause { core::BreakKind kind; bool shortens = false; };
  Coverage();
  // false: the table has no such thing for this break and backing.
  bool recalled(Cause cause, core::Backing backing, core::Action action);
  bool worked(Cause cause, core::Backing backing, core::Work work);
  void nothing_asked(Cause cause, core::Backing backing);
  void happened(const std::string& what) { ++situations_[what]; }
  void add(const Coverage& other);
  // Every row with its count; how many were not reached.
  std::size_t print() const;

 private:
  std::map<std::string, std::uint64_t> rows_, situations_;
};

}  // namespace mrlease::sim
