// SPDX-License-Identifier: Apache-2.0
#include "client-lib/src/preload/next_verbs.h"

#include <dlfcn.h>

#include <cerrno>

namespace mrlease::preload {
namespace {

// The default version of each, libibverbs/libibverbs.map.in of rdma-core.
template <typename Function>
Function next(const char* name, const char* version) {
  return reinterpret_cast<Function>(::dlvsym(RTLD_NEXT, name, version));
}

using Register = ibv_mr* (*)(ibv_pd*, void*, std::size_t, std::uint64_t, unsigned);
using Deregister = int (*)(ibv_mr*);
using Reregister = int (*)(ibv_mr*, int, ibv_pd*, void*, std::size_t, int);

}  // namespace

ibv_mr* next_register(ibv_pd* pd, void* address, std::size_t length, std::uint64_t iova, unsigned access) {
  static const auto call = next<Register>("ibv_reg_mr_iova2", "IBVERBS_1.8");
  if (call != nullptr) return call(pd, address, length, iova, access);
  errno = ENOSYS;
  return nullptr;
}

int next_deregister(ibv_mr* mr) {
  static const auto call = next<Deregister>("ibv_dereg_mr", "IBVERBS_1.1");
  return call != nullptr ? call(mr) : ENOSYS;
}

int next_reregister(ibv_mr* mr, int flags, ibv_pd* pd, void* address, std::size_t length, int access) {
  static const auto call = next<Reregister>("ibv_rereg_mr", "IBVERBS_1.1");
  return call != nullptr ? call(mr, flags, pd, address, length, access) : static_cast<int>(IBV_REREG_MR_ERR_INPUT);
}

}  // namespace mrlease::preload

// The lease library in here is linked with --wrap: its own registrations go past the calls in front, not into them.
extern "C" {
ibv_mr* __wrap_ibv_reg_mr(ibv_pd* pd, void* address, std::size_t length, int access);
int __wrap_ibv_dereg_mr(ibv_mr* mr);

ibv_mr* __wrap_ibv_reg_mr(ibv_pd* pd, void* address, std::size_t length, int access) {
  return mrlease::preload::next_register(pd, address, length, reinterpret_cast<std::uint64_t>(address), static_cast<unsigned>(access));
}
int __wrap_ibv_dereg_mr(ibv_mr* mr) { return mrlease::preload::next_deregister(mr); }
}
