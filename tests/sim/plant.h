// SPDX-License-Identifier: Apache-2.0
// Bugs to be found. An auditor that finds none of them proves nothing. Each stands between the arbiter and the daemon, or is
// a thing that the daemon forgets to do.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "daemon/core/events.h"

namespace mrlease::sim {

class Daemon;

class Plant {
 public:
  explicit Plant(std::string name) : name_(std::move(name)) {}
  static const std::vector<std::string>& names();
  bool is(const char* name) const { return name_ == name; }
  bool loses(core::LeaseId) const { return is("lose leases at a restart"); }
  core::Event twist(core::Event event) const;                        // what the arbiter gets
  void spoil(const core::Event& event, core::Effects& effects, Daemon& daemon);  // what it wants

 private:
  void answer_early(const core::Event& event, core::Effects& effects, core::BreakKind kind);

  std::string name_;
  std::set<core::BreakId> early_;
  std::map<core::RequestId, core::LeaseId> asked_;
};

}  // namespace mrlease::sim
