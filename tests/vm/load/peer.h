// SPDX-License-Identifier: Apache-2.0
// The receiver's side of the conversation with the sender. Thread-safe; its own thread reads the answers.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>

#include "tests/vm/load/link.h"

namespace mrlease::load {

struct Keys {
  std::uint64_t address = 0, length = 0, limit = 0;
  std::uint32_t rkey = 0;
};

class Peer {
 public:
  explicit Peer(Link& link);  // connected
  ~Peer();
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  // Waits until the sender has nothing in flight. false: it did not say so in time, or is gone.
  bool pause(std::uint32_t who, int timeout_ms);
  void resume(std::uint32_t who, const Keys& keys);
  void bye();

 private:
  void listen();
  void send(Say say, std::uint32_t who, const Keys& keys);

  Link& link_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::uint32_t paused_ = 0;  // reasons that the sender has confirmed
  bool gone_ = false, stop_ = false;
  std::thread thread_;
};

}  // namespace mrlease::load
