// SPDX-License-Identifier: Apache-2.0
// The few verbs that tests of the fence and of memory windows need: one device, two RC queue pairs, RDMA writes.
#pragma once

#include <infiniband/verbs.h>

#include <cstdint>

namespace mrlease::vm {

inline constexpr int kQps = 2;  // one gets lost with each remote error

// What the other side must know to connect.
struct Endpoint {
  std::uint32_t qpn[kQps];
  ibv_gid gid;
  std::uint8_t gid_index;
};

// Everything of one process. Calls that fail end the process with a sentence: it is a test's helper.
class Verbs {
 public:
  Verbs();  // the first device
  Endpoint endpoint() const { return self_; }
  void connect(const Endpoint& other);
  ibv_mr* register_memory(void* address, std::size_t length, int access);  // nullptr and errno
  // Posts a write of one page and waits for its completion: ibv_wc_status, or -1 after 60 s.
  int write_page(int qp, std::uint64_t address, std::uint32_t rkey);
  // Binds the window for remote writes to [address, address + length) of the region, its access has IBV_ACCESS_MW_BIND. As
  // write_page().
  int bind(ibv_mw* window, ibv_mr* mr, std::uint64_t address, std::size_t length);

  ibv_context* context = nullptr;
  ibv_pd* pd = nullptr;

 private:
  int completed();

  ibv_cq* cq_ = nullptr;
  ibv_qp* qps_[kQps] = {};
  ibv_mr* source_ = nullptr;
  char* source_memory_ = nullptr;
  Endpoint self_{};
};

[[noreturn]] void die(const char* what);

}  // namespace mrlease::vm
