// SPDX-License-Identifier: Apache-2.0
// libibverbs' own calls, behind those that this library puts in front of them.
#pragma once

#include <infiniband/verbs.h>

#include <cstddef>
#include <cstdint>

namespace mrlease::preload {

// As ibv_reg_mr_iova2(3): NULL and errno.
ibv_mr* next_register(ibv_pd* pd, void* address, std::size_t length, std::uint64_t iova, unsigned access);
int next_deregister(ibv_mr* mr);  // 0 or errno
int next_reregister(ibv_mr* mr, int flags, ibv_pd* pd, void* address, std::size_t length, int access);

}  // namespace mrlease::preload
