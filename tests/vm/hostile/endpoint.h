// SPDX-License-Identifier: Apache-2.0
// One end of an RC connection on the first RDMA device, for tests where client and peer are processes of one machine.
#pragma once

#include <infiniband/verbs.h>

#include <cstdint>
#include <stdexcept>
#include <string>

namespace mrlease::test {

struct Address {
  std::uint32_t qp = 0;
  ibv_gid gid{};
};

// Throws std::runtime_error. Single-threaded.
class Endpoint {
 public:
  Endpoint();
  ~Endpoint();
  Endpoint(const Endpoint&) = delete;
  Endpoint& operator=(const Endpoint&) = delete;
  Address address() const;
  // After a failed operation the connection is dead: renew() makes a new queue pair, to be connected again.
  void connect(const Address& other);
  void renew();
  // Whole pages from a buffer of the endpoint's own; waits for the completion: its ibv_wc_status.
  ibv_wc_status write(std::uint64_t remote, std::uint32_t rkey, std::uint64_t stamp, std::uint32_t length = 4096);
  ibv_wc_status read(std::uint64_t remote, std::uint32_t rkey, std::uint64_t* stamp);
  // Post and do not wait: for operations that are to hang.
  void post_write(std::uint64_t remote, std::uint32_t rkey, std::uint64_t stamp, std::uint32_t length = 4096);
  // The next completion; throws when none comes within `seconds`.
  ibv_wc_status complete(int seconds = 60);

  ibv_context* context = nullptr;
  ibv_pd* pd = nullptr;

 private:
  void post(ibv_wr_opcode opcode, std::uint64_t remote, std::uint32_t rkey, std::uint32_t length);
  ibv_cq* cq_ = nullptr;
  ibv_qp* qp_ = nullptr;
  ibv_mr* mr_ = nullptr;
  std::uint64_t* buffer_ = nullptr;
  int gid_index_ = 0;
};

}  // namespace mrlease::test
