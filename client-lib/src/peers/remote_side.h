// SPDX-License-Identifier: Apache-2.0
// A peer's bookkeeping with its queue pair, a lock and a thread.
#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>

#include "client-lib/src/peers/listener.h"
#include "client-lib/src/peers/remote.h"
#include "client-lib/src/verbs/message_queue.h"

namespace mrlease::client::peers {

// Thread-safe. A lock, not PostingGuard's word: what is inside must see one target, which may change without a recall.
class RemoteSide {
 public:
  static Outcome create(ibv_qp* control, std::unique_ptr<RemoteSide>* out);
  ~RemoteSide();  // says goodbye, and waits at most a second until that has arrived
  RemoteSide(const RemoteSide&) = delete;
  RemoteSide& operator=(const RemoteSide&) = delete;

  Outcome enter(std::uint64_t region, std::chrono::milliseconds time, Place* place);
  Outcome leave(std::uint64_t region);

 private:
  explicit RemoteSide(std::unique_ptr<verbs::MessageQueue> messages);
  Interest interest();
  void serve();
  void say(const std::optional<Message>& message);
  void hear(std::span<const unsigned char> bytes);
  void end(const Outcome& why);

  std::mutex mutex_;
  std::condition_variable changed_;
  Remote remote_;
  const std::unique_ptr<verbs::MessageQueue> messages_;
  Listener listener_;  // last: its thread uses all of the above
};

}  // namespace mrlease::client::peers
