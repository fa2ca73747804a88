// SPDX-License-Identifier: Apache-2.0
// What the listener is to hear: collected under the guard's lock, told without it, in order.
#pragma once

#include <functional>
#include <utility>
#include <vector>

#include "daemon/guard/guard.h"

namespace mrlease::guard {

class Outbox {
 public:
  using Note = std::function<void(const Listener&)>;
  void add(Note note) { notes_.push_back(std::move(note)); }
  bool empty() const { return notes_.empty(); }
  std::vector<Note> take() { return std::exchange(notes_, {}); }

 private:
  std::vector<Note> notes_;
};

}  // namespace mrlease::guard
