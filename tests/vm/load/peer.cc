// SPDX-License-Identifier: Apache-2.0
#include "tests/vm/load/peer.h"

#include <chrono>

namespace mrlease::load {

Peer::Peer(Link& link) : link_(link), thread_([this] { listen(); }) {}

Peer::~Peer() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  thread_.join();
}

void Peer::send(Say say, std::uint32_t who, const Keys& keys) {
  Message message{};
  message.say = say;
  message.who = who;
  message.address = keys.address;
  message.length = keys.length;
  message.limit = keys.limit;
  message.rkey = keys.rkey;
  std::lock_guard lock(mutex_);
  if (gone_) return;
  if (say == Say::Pause) paused_ &= ~who;
  link_.control().post_send(link_.qp(), message, 0);
}

bool Peer::pause(std::uint32_t who, int timeout_ms) {
  send(Say::Pause, who, {});
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, std::chrono::milliseconds(timeout_ms), [&] {
    return gone_ || (paused_ & who) == who;
  }) && !gone_;
}

void Peer::resume(std::uint32_t who, const Keys& keys) { send(Say::Resume, who, keys); }

void Peer::bye() { send(Say::Bye, kNobody, {}); }

void Peer::listen() {
  for (;;) {
    ibv_wc done[16];
    const int n = ibv_poll_cq(link_.cq(), 16, done);
    std::unique_lock lock(mutex_);
    if (stop_) return;
    for (int i = 0; i < n; ++i) {
      if (done[i].status != IBV_WC_SUCCESS) {
        gone_ = true;
      } else if (done[i].wr_id & kReceiveBit) {
        const int slot = static_cast<int>(done[i].wr_id & 0xffff);
        const Message& message = link_.control().received(slot);
        if (message.say == Say::Paused) paused_ |= message.who;
        link_.control().post_receive(link_.qp(), slot);
      }
    }
    if (n > 0) changed_.notify_all();
    lock.unlock();
    if (n <= 0) link_.wait_completion(200);
  }
}

}  // namespace mrlease::load
