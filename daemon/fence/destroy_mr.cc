// SPDX-License-Identifier: Apache-2.0
// MRs of another process by the raw uverbs ioctl: libibverbs works only on contexts that it opened itself.
#include <rdma/ib_user_ioctl_cmds.h>
#include <rdma/rdma_user_ioctl.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstddef>

#include "daemon/fence/fence.h"

namespace mrlease::fence {
namespace {

// struct ib_uverbs_ioctl_hdr (rdma/rdma_user_ioctl_cmds.h) ends in a flexible array; this is its header with N attributes.
template <std::size_t N>
struct Call {
  std::uint16_t length, object_id, method_id, num_attrs;
  std::uint64_t reserved1;
  std::uint32_t driver_id, reserved2;
  ib_uverbs_attr attrs[N];
};
static_assert(offsetof(Call<1>, attrs) == sizeof(ib_uverbs_ioctl_hdr) && sizeof(Call<1>) == 40);

template <std::size_t N>
Call<N> make_call(const Mr& mr, std::uint16_t method) {
  Call<N> call{};
  call.length = sizeof call;
  call.object_id = UVERBS_OBJECT_MR;
  call.method_id = method;
  call.num_attrs = N;
  call.driver_id = mr.driver_id;
  return call;
}

ib_uverbs_attr handle_in(std::uint16_t id, std::uint32_t handle) {
  ib_uverbs_attr attr{};
  attr.attr_id = id;
  attr.flags = UVERBS_ATTR_F_MANDATORY;
  attr.data = handle;
  return attr;
}

template <class T>
ib_uverbs_attr pointer_out(std::uint16_t id, T* value, std::uint16_t flags) {
  ib_uverbs_attr attr{};
  attr.attr_id = id;
  attr.len = sizeof *value;
  attr.flags = flags;
  attr.data = reinterpret_cast<std::uintptr_t>(value);
  return attr;
}

int call_kernel(int fd, void* call) { return ::ioctl(fd, RDMA_VERBS_IOCTL, call) == 0 ? 0 : errno; }

// EINVAL of QUERY_MR is either a driver_id that is not the device's, or a handle that is another kind of object now.
// Any other call tells: with the wrong driver_id it is EINVAL too, before anything else is looked at.
bool driver_matches(const Mr& mr) {
  ib_uverbs_ioctl_hdr call{};
  call.length = sizeof call;
  call.object_id = UVERBS_OBJECT_DEVICE;
  call.method_id = UVERBS_METHOD_QUERY_CONTEXT;
  call.driver_id = mr.driver_id;
  return call_kernel(mr.uverbs.get(), &call) != EINVAL;
}

// Is the handle still this MR? 0, ENOENT (gone, or somebody else's), or errno.
int compare(const Mr& mr) {
  std::uint32_t lkey = 0, rkey = 0;
  std::uint64_t length = 0, iova = 0;
  auto call = make_call<5>(mr, UVERBS_METHOD_QUERY_MR);
  call.attrs[0] = handle_in(UVERBS_ATTR_QUERY_MR_HANDLE, mr.handle);
  call.attrs[1] = pointer_out(UVERBS_ATTR_QUERY_MR_RESP_LKEY, &lkey, UVERBS_ATTR_F_MANDATORY);
  call.attrs[2] = pointer_out(UVERBS_ATTR_QUERY_MR_RESP_RKEY, &rkey, UVERBS_ATTR_F_MANDATORY);
  call.attrs[3] = pointer_out(UVERBS_ATTR_QUERY_MR_RESP_LENGTH, &length, UVERBS_ATTR_F_MANDATORY);
  call.attrs[4] = pointer_out(UVERBS_ATTR_QUERY_MR_RESP_IOVA, &iova, 0);  // older kernels leave it out
  const int code = call_kernel(mr.uverbs.get(), &call);
  if (code == EINVAL && driver_matches(mr)) return ENOENT;
  if (code != 0) return code;
  const bool has_iova = (call.attrs[4].flags & UVERBS_ATTR_F_VALID_OUTPUT) != 0;
  const bool same = lkey == mr.lkey && rkey == mr.rkey && length == mr.length && (!has_iova || iova == mr.address);
  return same ? 0 : ENOENT;
}

}  // namespace

int destroy_mr(const Mr& mr) {
  const int code = compare(mr);
  // A kernel or driver without QUERY_MR: nothing to compare with, and the device must be cut off all the same.
  if (code != 0 && code != EPROTONOSUPPORT && code != EOPNOTSUPP) return code;
  auto call = make_call<1>(mr, UVERBS_METHOD_MR_DESTROY);
  call.attrs[0] = handle_in(UVERBS_ATTR_DESTROY_MR_HANDLE, mr.handle);
  return call_kernel(mr.uverbs.get(), &call);
}

}  // namespace mrlease::fence
