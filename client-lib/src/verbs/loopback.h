// SPDX-License-Identifier: Apache-2.0
// A reliable connection of a device with itself, in a protection domain of its own: what the probe tries things on.
#pragma once

#include <cstdint>
#include <memory>

#include "client-lib/src/verbs/verbs.h"

namespace mrlease::client::verbs {

// Not thread-safe. After a transfer failed the connection is dead: make another.
class Loopback {
 public:
  static Outcome create(ibv_context* device, std::unique_ptr<Loopback>* out);
  ~Loopback();
  Loopback(const Loopback&) = delete;
  Loopback& operator=(const Loopback&) = delete;

  ibv_pd* pd() const;
  static constexpr std::size_t kSource = 64 * 1024;
  const unsigned char* source() const;  // kSource bytes that differ from zero and from their neighbours
  // RDMA WRITE of source()[0, length) to address; waits at most 5 s for the completion. The text names its status.
  Outcome write(std::uint64_t address, std::uint32_t rkey, std::size_t length);

 private:
  Loopback();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Register for remote writes, as the probe needs it.
Outcome register_target(ibv_pd* pd, void* address, std::size_t length, bool on_demand, Mr* out);

}  // namespace mrlease::client::verbs
