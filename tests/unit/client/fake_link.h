// SPDX-License-Identifier: Apache-2.0
// Connected queue pairs in memory: sends, receives, completion channels and the error state, in place of a device's.
#pragma once

#include <infiniband/verbs.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "proto/fd_passing.h"
#include "tests/unit/client/fake_verbs.h"

namespace mrlease::client {

// One end. Thread-safe, as verbs are. What is sent to an end without receives waits for them (rnr_retry 7).
class FakeEnd {
 public:
  explicit FakeEnd(FakeDevice& device);
  FakeEnd(const FakeEnd&) = delete;
  FakeEnd& operator=(const FakeEnd&) = delete;
  static void connect(FakeEnd& a, FakeEnd& b);

  bool in_error();
  void send_raw(std::vector<unsigned char> bytes);  // by an end that keeps no receives: nothing is ever answered

  ibv_qp qp{};
  ibv_cq cq{};
  ibv_comp_channel channel{};
  ibv_qp_cap cap{8, 8, 1, 1, 0};
  std::atomic<std::uint8_t> min_rnr_timer{0};

 private:
  friend struct FakeLinkCalls;
  struct Send {
    FakeEnd* from;
    std::uint64_t wr_id;
    std::vector<unsigned char> bytes;
  };
  void complete(std::uint64_t wr_id, ibv_wc_status status, std::size_t bytes = 0);
  void deliver();
  void end();

  wire::Fd ready_;
  FakeEnd* other_ = nullptr;
  bool error_ = false, armed_ = false;
  std::deque<ibv_recv_wr> receives_;
  std::deque<ibv_sge> pieces_;
  std::deque<Send> arriving_;
  std::deque<ibv_wc> done_;
};

}  // namespace mrlease::client
