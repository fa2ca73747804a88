// SPDX-License-Identifier: Apache-2.0
// Small messages over a connected queue pair that serves nothing else.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "client-lib/src/verbs/verbs.h"

struct ibv_qp;
struct ibv_cq;

namespace mrlease::client::verbs {

// Not thread-safe. Nothing here waits.
class MessageQueue {
 public:
  static constexpr std::uint32_t kDepth = 8;         // sends, and receives, on the queue pair at a time
  static constexpr std::size_t kWaitingMax = 65536;  // sends that wait for those
  static constexpr std::size_t kBytesMax = 64;       // of a message

  // Posts the receives. connected: it has to be, else it may be. EINVAL: it is not what is needed, with what of it.
  static Outcome create(ibv_qp* qp, bool connected, std::unique_ptr<MessageQueue>* out);
  // Moves the queue pair to the error state: the memory of its messages goes.
  ~MessageQueue();
  MessageQueue(const MessageQueue&) = delete;
  MessageQueue& operator=(const MessageQueue&) = delete;

  // In their order. ENOBUFS: kWaitingMax are waiting, so the other end does not take them.
  Outcome send(std::span<const unsigned char> bytes);
  bool all_sent() const { return in_flight_ == 0 && waiting_.empty(); }  // and received by the other end's device
  // Each readable when take() has something to do.
  const std::vector<int>& fds() const { return fds_; }
  // What has come since the last time. ENOTCONN: the connection is over, with the status of what failed.
  Outcome take(const std::function<void(std::span<const unsigned char>)>& hear);

 private:
  explicit MessageQueue(ibv_qp* qp) : qp_(qp) {}
  Outcome check(bool connected) const;
  Outcome set_up();
  Outcome watch(ibv_cq* cq);
  void shorten_refusals();
  Outcome post_receive(std::uint32_t slot);
  Outcome post_send(std::span<const unsigned char> bytes);
  Outcome poll(ibv_cq* cq, const std::function<void(std::span<const unsigned char>)>& hear);
  Outcome send_waiting();
  unsigned char* slot_at(std::uint32_t slot) { return buffer_.data() + slot * kBytesMax; }

  ibv_qp* const qp_;
  std::vector<unsigned char> buffer_ = std::vector<unsigned char>(kBytesMax * 2 * kDepth);  // receives, then sends
  Mr mr_;
  std::vector<ibv_cq*> cqs_;
  std::vector<int> fds_;
  std::uint32_t in_flight_ = 0, next_send_ = 0;
  bool refusals_short_ = false;
  std::deque<std::vector<unsigned char>> waiting_;
};

// Every operation on it fails from now on, those of the other end included. Harmless when it is done already.
void end_queue_pair(ibv_qp* qp);

}  // namespace mrlease::client::verbs
