// SPDX-License-Identifier: Apache-2.0
#include "client-lib/src/verbs/verbs.h"

#include <fcntl.h>
#include <infiniband/verbs.h>
#include <sys/resource.h>

#include <cstdio>

namespace mrlease::client::verbs {
namespace {

constexpr int kWrites = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_ATOMIC;
constexpr int kKnown = kWrites | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_MW_BIND | IBV_ACCESS_ZERO_BASED |
                       static_cast<int>(IBV_ACCESS_RELAXED_ORDERING);

std::string hex(int value) {
  char text[16];
  std::snprintf(text, sizeof text, "0x%x", static_cast<unsigned>(value));
  return text;
}

// drivers/infiniband/core/umem.c: pinned pages count against RLIMIT_MEMLOCK, unless the process has CAP_IPC_LOCK.
std::string memlock_hint() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_MEMLOCK, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return {};
  return "; RLIMIT_MEMLOCK is " + std::to_string(limit.rlim_cur) +
         " bytes: raise it (ulimit -l, LimitMEMLOCK= of a systemd unit, --ulimit memlock=-1 of a container)";
}

// Of a device that it has removed the kernel answers everything with EIO.
bool gone(ibv_context* device) {
  ibv_device_attr attributes{};
  return ibv_query_device(device, &attributes) == EIO;
}

}  // namespace

Outcome describe(ibv_context* context, Device* out) {
  if (context == nullptr || context->device == nullptr || context->cmd_fd < 0 || ::fcntl(context->cmd_fd, F_GETFD) < 0) {
    return {ENODEV, "the protection domain's device is closed or gone"};
  }
  out->context = context;
  out->name = ibv_get_device_name(context->device);
  out->guid = ibv_get_device_guid(context->device);
  out->cmd_fd = context->cmd_fd;
  return {};
}

ibv_context* context_of(ibv_pd* pd) { return pd->context; }

Outcome register_mr(ibv_pd* pd, void* address, std::size_t length, int access, bool on_demand, Mr* out) {
  errno = 0;
  // The function, not the macro: the macro takes its own view of constant flags.
  ibv_mr* mr = (ibv_reg_mr)(pd, address, length, access | (on_demand ? IBV_ACCESS_ON_DEMAND : 0));
  if (mr == nullptr) {
    const int code = errno != 0 ? errno : EIO;
    if (code == EIO && gone(pd->context)) return {ENODEV, "the protection domain's device was removed"};
    const std::string limit = code == ENOMEM && !on_demand ? memlock_hint() : "";
    Outcome failed = from_errno("ibv_reg_mr of " + std::to_string(length) + " bytes with access " + hex(access) +
                                    (on_demand ? ", on demand" : ""),
                                code);
    failed.text += limit;
    return failed;
  }
  *out = {mr, mr->handle, mr->lkey, mr->rkey, length};
  return {};
}

int deregister_mr(ibv_mr* mr) { return ibv_dereg_mr(mr); }

bool writes(int access) { return (access & kWrites) != 0; }

Outcome check_access(int access, int* completed) {
  if ((access & IBV_ACCESS_ON_DEMAND) != 0) {
    return {EINVAL, "access has IBV_ACCESS_ON_DEMAND, which the library sets itself: ask for MRL_BACKING_ODP instead"};
  }
  if ((access & ~kKnown) != 0) {
    return {EINVAL, "access " + hex(access) + " has flags that mrlease does not know: " + hex(access & ~kKnown)};
  }
  *completed = access;
  if ((access & (IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_ATOMIC)) != 0) *completed |= IBV_ACCESS_LOCAL_WRITE;
  return {};
}

}  // namespace mrlease::client::verbs
