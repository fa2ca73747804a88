// SPDX-License-Identifier: Apache-2.0
// What LD_PRELOAD=libmrlease-preload.so puts in front of libibverbs: registrations of mapped files become leases, all others
// stay what they are. No exception leaves it.
#include <infiniband/verbs.h>
#include <pthread.h>

#include <cerrno>
#include <exception>
#include <new>

#include "client-lib/src/preload/registrations.h"
#include "client-lib/src/preload/say.h"

using mrlease::preload::Registrations;
using mrlease::preload::say;

namespace {

ibv_mr* add(ibv_pd* pd, void* address, std::size_t length, std::uint64_t iova, unsigned access) noexcept {
  try {
    return Registrations::of_process().add(pd, address, length, iova, access);
  } catch (const std::bad_alloc&) {
    errno = ENOMEM;
  } catch (const std::exception& e) {
    say("%s", e.what());
    errno = EIO;
  }
  return nullptr;
}

[[gnu::constructor]] void begin() {
  pthread_atfork(nullptr, nullptr, [] { Registrations::of_process().forget_in_child(); });
}
[[gnu::destructor]] void end() { Registrations::of_process().write_back_copies(); }

}  // namespace

#undef ibv_reg_mr
#undef ibv_reg_mr_iova

#define EXPORT __attribute__((visibility("default")))

extern "C" {

EXPORT ibv_mr* ibv_reg_mr(ibv_pd* pd, void* addr, size_t length, int access) {
  return add(pd, addr, length, reinterpret_cast<std::uint64_t>(addr), static_cast<unsigned>(access));
}

EXPORT ibv_mr* ibv_reg_mr_iova(ibv_pd* pd, void* addr, size_t length, uint64_t iova, int access) {
  return add(pd, addr, length, iova, static_cast<unsigned>(access));
}

EXPORT ibv_mr* ibv_reg_mr_iova2(ibv_pd* pd, void* addr, size_t length, uint64_t iova, unsigned int access) {
  return add(pd, addr, length, iova, access);
}

EXPORT int ibv_dereg_mr(ibv_mr* mr) {
  try {
    return Registrations::of_process().remove(mr);
  } catch (const std::exception& e) {
    say("%s", e.what());
    return EIO;
  }
}

EXPORT int ibv_rereg_mr(ibv_mr* mr, int flags, ibv_pd* pd, void* addr, size_t length, int access) {
  if (!Registrations::of_process().owns(mr)) return mrlease::preload::next_reregister(mr, flags, pd, addr, length, access);
  say("a lease cannot be registered another way; deregister it, and register again");
  errno = ENOTSUP;
  return IBV_REREG_MR_ERR_INPUT;  // ibv_rereg_mr(3): the registration is as it was
}

}  // extern "C"
