// SPDX-License-Identifier: Apache-2.0
// Everything that libibverbs is called for; no other folder of the library calls it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "client-lib/src/util/outcome.h"

struct ibv_pd;
struct ibv_mr;
struct ibv_context;

namespace mrlease::client::verbs {

struct Mr {
  ibv_mr* mr = nullptr;
  std::uint32_t handle = 0, lkey = 0, rkey = 0;
  std::uint64_t length = 0;  // bytes
};

inline constexpr std::uint32_t kDriverUnknown = 0xffffffff;

struct Device {
  ibv_context* context = nullptr;
  std::string name;
  std::uint64_t guid = 0;
  int cmd_fd = -1;
};

Outcome describe(ibv_context* context, Device* out);
ibv_context* context_of(ibv_pd* pd);

// code: errno of ibv_reg_mr. on_demand: IBV_ACCESS_ON_DEMAND.
Outcome register_mr(ibv_pd* pd, void* address, std::size_t length, int access, bool on_demand, Mr* out);
int deregister_mr(ibv_mr* mr);  // 0 or errno

// Which enum rdma_driver_id the kernel takes for this device: found by trying, since no call of libibverbs tells.
std::uint32_t find_driver_id(int cmd_fd);
// Does the handle still name that registration? False when it was destroyed behind our back.
bool still_ours(const ibv_mr* mr, std::uint32_t driver_id);

// Does the access let device or peer write?
bool writes(int access);
// EINVAL with a sentence; adds IBV_ACCESS_LOCAL_WRITE where remote writes need it.
Outcome check_access(int access, int* completed);

}  // namespace mrlease::client::verbs
