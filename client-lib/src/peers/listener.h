// SPDX-License-Identifier: Apache-2.0
// The private thread of one side: sleeps until a descriptor is readable, a deadline has come, or somebody rings.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <optional>
#include <thread>
#include <vector>

#include "proto/fd_passing.h"

namespace mrlease::client::peers {

struct Interest {
  std::vector<int> fds;
  std::optional<std::chrono::steady_clock::time_point> until;
};

// Thread-safe. `interest` and `serve` are called on the thread, one after the other, until stop().
class Listener {
 public:
  // serve: is told which of the descriptors are readable. One may be a stranger's by then: its owner went while we slept.
  Listener(std::function<Interest()> interest, std::function<void(const std::vector<int>&)> serve);
  ~Listener() { stop(); }
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  void ring();  // what it has to wait for has changed
  void stop();  // joins; not from the thread

 private:
  void run();

  const std::function<Interest()> interest_;
  const std::function<void(const std::vector<int>&)> serve_;
  wire::Fd bell_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace mrlease::client::peers
