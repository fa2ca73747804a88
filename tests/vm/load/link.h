// SPDX-License-Identifier: Apache-2.0
// One RC connection by rdma_cm, with room for control messages. Throws std::system_error.
#pragma once

#include <infiniband/verbs.h>
#include <rdma/rdma_cma.h>

#include <cstdint>
#include <string>
#include <vector>

#include "tests/vm/load/control.h"

namespace mrlease::load {

// The memory of both directions' control messages; lives as long as the queue pair.
class ControlBuffers {
 public:
  static constexpr int kReceives = 32, kSends = 32;
  explicit ControlBuffers(ibv_pd* pd);
  ~ControlBuffers();
  ControlBuffers(const ControlBuffers&) = delete;
  ControlBuffers& operator=(const ControlBuffers&) = delete;
  void post_receive(ibv_qp* qp, int slot);
  void post_send(ibv_qp* qp, const Message& message, std::uint64_t wr_id);
  const Message& received(int slot) const { return in_[slot]; }

 private:
  std::vector<Message> in_, out_;
  ibv_mr *in_mr_ = nullptr, *out_mr_ = nullptr;
  int next_send_ = 0;
};

struct LinkOptions {
  std::string address = "10.99.0.1", port = "7471";
  int sends = 64;
  // (retry_cnt + 1) x 4.096 us x 2^timeout: 0.54 s nominally, as the usual defaults; rxe keeps trying far longer.
  std::uint8_t timeout = 14, retry_count = 7;
};

class Link {
 public:
  explicit Link(const LinkOptions& options);
  ~Link();
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;
  void listen();  // afterwards there is a protection domain, before anybody has connected
  void accept();
  void connect();
  void disconnect();

  ibv_pd* pd() const { return pd_; }
  ibv_qp* qp() const { return id_->qp; }
  ibv_cq* cq() const { return cq_; }
  ibv_comp_channel* channel() const { return comp_; }
  ControlBuffers& control() { return *control_; }
  // Sleeps until the queue has something or timeout_ms has passed; then the next poll sees it.
  void wait_completion(int timeout_ms);

 private:
  void make_queue_pair();
  rdma_cm_id* expect(rdma_cm_event_type type);

  LinkOptions options_;
  rdma_event_channel* events_ = nullptr;
  rdma_cm_id *listener_ = nullptr, *id_ = nullptr;
  ibv_pd* pd_ = nullptr;
  ibv_comp_channel* comp_ = nullptr;
  ibv_cq* cq_ = nullptr;
  ControlBuffers* control_ = nullptr;
  sockaddr_storage address_{};
};

// wr_ids of control work; everything below is the owner's.
inline constexpr std::uint64_t kReceiveBit = 1ull << 63, kControlSendBit = 1ull << 62;

}  // namespace mrlease::load
