// SPDX-License-Identifier: Apache-2.0
// What stays when the daemon goes: its office. The process is the holder of it for a while.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "daemon/guard/guard.h"
#include "daemon/keep/state.h"
#include "daemon/session/broker.h"

namespace mrlease::loop {

class Office {
 public:
  using Log = std::function<void(int level, const std::string& line)>;

  // Before other descriptors are opened: the numbers of what a predecessor had read and not answered are reserved.
  // Throws std::system_error, std::runtime_error.
  explicit Office(keep::Keeper& keeper);

  keep::State* state() const { return state_.get(); }  // nullptr: nothing is kept
  keep::Table<keep::DrainRecord>* drains() const { return drains_.get(); }  // as state()
  guard::Heritage heritage();
  // Sessions, leases, what was begun and what is held; then the guard begins.
  void take_over(guard::Guard& guard, session::Broker& broker, std::chrono::milliseconds passing_bound, const Log& log);
  // The socket of the socket unit, or a predecessor's own; or none.
  sys::Fd listener() { return std::move(listener_); }
  void keep_listener(int fd);
  // All is taken over and served.
  void serves();
  bool follows() const { return follows_; }  // leases of a predecessor were taken over

 private:
  bool open_state();
  void abandon();
  void reserve_numbers();

  keep::Keeper& keeper_;
  std::unique_ptr<keep::Memory> state_memory_, journal_, drains_memory_;
  std::unique_ptr<keep::State> state_;
  std::unique_ptr<keep::Table<keep::DrainRecord>> drains_;
  std::string trouble_;  // with what a predecessor left; empty: none
  std::set<std::string> inherited_groups_;
  sys::Fd listener_;
  bool follows_ = false;  // a predecessor, whose state was taken over
  bool own_listener_ = false;
};

}  // namespace mrlease::loop
