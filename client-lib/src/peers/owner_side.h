// SPDX-License-Identifier: Apache-2.0
// The owner's bookkeeping with queue pairs, a lock and a thread.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "client-lib/src/peers/listener.h"
#include "client-lib/src/peers/owner.h"
#include "client-lib/src/verbs/message_queue.h"

namespace mrlease::client::peers {

// Thread-safe. Nothing waits but hold_and_wait() and the destructor.
class OwnerSide {
 public:
  OwnerSide();
  // Who waits for a hold is told, as if it had run into its deadline.
  ~OwnerSide();
  OwnerSide(const OwnerSide&) = delete;
  OwnerSide& operator=(const OwnerSide&) = delete;

  Outcome add(ibv_qp* control, std::vector<ibv_qp*> data, std::uint64_t* peer);
  Outcome remove(std::uint64_t peer);
  Outcome status(std::uint64_t peer);
  OwnerCounts counts();

  Outcome offer(std::uint64_t region, const Reach& reach, unsigned held_for);
  bool held(std::uint64_t region, Reason why);
  // Owner::hold().
  void hold(std::uint64_t region, Reason why, std::chrono::milliseconds time, Owner::Done done);
  void hold_and_wait(std::uint64_t region, Reason why, std::chrono::milliseconds time);
  void resume(std::uint64_t region, Reason why, const Reach& reach);
  void resize(std::uint64_t region, std::uint64_t size);
  void end(std::uint64_t region);
  void forget(std::uint64_t region);

 private:
  Interest interest();
  void serve(const std::vector<int>& readable);

  std::mutex mutex_;
  Owner owner_;
  std::map<std::uint64_t, verbs::MessageQueue*> queues_;  // by peer; the peer's channel owns it
  Listener listener_;                                     // last: its thread uses all of the above
};

}  // namespace mrlease::client::peers
