// SPDX-License-Identifier: Apache-2.0
// The device's edge, played by the test: registrations are only counted. Linked in place of libibverbs' functions.
#pragma once

#include <infiniband/verbs.h>

#include <atomic>

namespace mrlease::client {

struct FakeDevice {
  FakeDevice();
  ~FakeDevice();
  ibv_device device{};
  ibv_context context{};
  ibv_pd pd{};
  static std::atomic<int> live, deregistered;
  static std::atomic<int> fail_with;  // errno of the next ibv_reg_mr
  static std::atomic<int> windows;    // bound to memory regions, none of which can be deregistered meanwhile
};

}  // namespace mrlease::client
