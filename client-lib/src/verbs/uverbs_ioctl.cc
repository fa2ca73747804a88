// SPDX-License-Identifier: Apache-2.0
// What libibverbs does not offer, asked of the kernel through the context's own descriptor (rdma/rdma_user_ioctl.h).
#include <infiniband/verbs.h>
#include <rdma/ib_user_ioctl_cmds.h>
#include <rdma/rdma_user_ioctl.h>
#include <sys/ioctl.h>

#include <cstdint>

#include "client-lib/src/verbs/verbs.h"

namespace mrlease::client::verbs {
namespace {

// struct ib_uverbs_ioctl_hdr and _attr with room of their own: the kernel's header ends in a flexible array.
struct Attribute {
  std::uint16_t id, length, flags, reserved;
  std::uint64_t data;
};
template <int kAttributes>
struct Call {
  std::uint16_t length = sizeof(Call), object, method, attributes = kAttributes;
  std::uint64_t reserved1 = 0;
  std::uint32_t driver_id, reserved2 = 0;
  Attribute attribute[kAttributes == 0 ? 1 : kAttributes];
};
constexpr std::uint16_t kHeader = 24;
static_assert(offsetof(Call<1>, attribute) == kHeader && sizeof(Attribute) == 16);

}  // namespace

// drivers/infiniband/core/uverbs_ioctl.c compares the driver_id (EINVAL) before it looks the method up
// (EPROTONOSUPPORT).
std::uint32_t find_driver_id(int cmd_fd) {
  constexpr std::uint32_t kTried = 64;  // enum rdma_driver_id, rdma/ib_user_ioctl_verbs.h, has about twenty
  for (std::uint32_t id = 0; id < kTried; id++) {
    Call<0> call{};
    call.length = kHeader;
    call.object = UVERBS_OBJECT_MR;
    call.method = 0xff;  // no such method
    call.driver_id = id;
    if (::ioctl(cmd_fd, RDMA_VERBS_IOCTL, &call) != 0 && errno == EPROTONOSUPPORT) return id;
  }
  return kDriverUnknown;
}

bool still_ours(const ibv_mr* mr, std::uint32_t driver_id) {
  std::uint32_t lkey = 0, rkey = 0;
  std::uint64_t length = 0;
  Call<4> call{};
  call.object = UVERBS_OBJECT_MR;
  call.method = UVERBS_METHOD_QUERY_MR;
  call.driver_id = driver_id;
  const std::uint16_t mandatory = UVERBS_ATTR_F_MANDATORY;
  call.attribute[0] = {UVERBS_ATTR_QUERY_MR_HANDLE, 0, mandatory, 0, mr->handle};
  call.attribute[1] = {UVERBS_ATTR_QUERY_MR_RESP_LKEY, sizeof lkey, mandatory, 0,
                       reinterpret_cast<std::uint64_t>(&lkey)};
  call.attribute[2] = {UVERBS_ATTR_QUERY_MR_RESP_RKEY, sizeof rkey, mandatory, 0,
                       reinterpret_cast<std::uint64_t>(&rkey)};
  call.attribute[3] = {UVERBS_ATTR_QUERY_MR_RESP_LENGTH, sizeof length, mandatory, 0,
                       reinterpret_cast<std::uint64_t>(&length)};
  if (::ioctl(mr->context->cmd_fd, RDMA_VERBS_IOCTL, &call) != 0) {
    // ENOENT, EINVAL: not a memory region any more. EIO: the device was removed, and all that was registered with it
    // (ib_uverbs_remove_one(), drivers/infiniband/core/uverbs_main.c). Anything else: this kernel cannot say; take the usual case.
    return errno != ENOENT && errno != EINVAL && errno != EIO;
  }
  return lkey == mr->lkey && rkey == mr->rkey && length == mr->length;
}

}  // namespace mrlease::client::verbs
