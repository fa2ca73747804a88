// SPDX-License-Identifier: Apache-2.0
// An RDMA device for a daemon on a machine that has none: /dev/null, by a /sys/class that only the daemon sees. A memory region that a
// client says it has there is not known to the kernel: a fence cannot destroy it (ENOTTY), and kills.
#pragma once

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <system_error>

#include "tests/support/wire_client.h"

namespace mrlease::test {

// In the daemon's process, before it is one.
inline void see_stand_in_device() {
  const auto check = [](int result, const char* what) {
    if (result != 0) throw std::system_error(errno, std::generic_category(), what);
  };
  check(::unshare(CLONE_NEWNS), "unshare");
  check(::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr), "mount --make-rprivate");
  check(::mount("none", "/sys/class", "tmpfs", 0, nullptr), "mount /sys/class");
  const std::filesystem::path device = "/sys/class/infiniband_verbs/uverbs0";
  std::filesystem::create_directories(device);
  std::ofstream(device / "dev") << "1:3\n";
  std::ofstream(device / "ibdev") << "null0\n";
}

// The client's number for it.
inline std::uint32_t add_stand_in_device(WireClient& client) {
  const wire::Fd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  wire::Frame f;
  f.mutable_add_device()->set_name("null0");
  const Message answer = client.call(std::move(f), {null.get()});
  if (!answer.frame.has_device_added()) throw std::runtime_error("add_device: " + answer.frame.status().message());
  return answer.frame.device_added().device();
}

inline wire::v1::Status add_mr(WireClient& client, std::uint64_t lease, std::uint32_t device, std::uint32_t handle) {
  wire::Frame f;
  wire::v1::AddMr& a = *f.mutable_add_mr();
  a.set_lease(lease);
  a.set_device(device);
  a.set_handle(handle);
  a.set_lkey(2 * handle);
  a.set_rkey(2 * handle + 1);
  a.set_address(1ull << 32);
  a.set_length(4096);
  return client.call(std::move(f)).frame.status();
}

inline wire::v1::Status remove_mr(WireClient& client, std::uint64_t lease, std::uint32_t device, std::uint32_t handle) {
  wire::Frame f;
  f.mutable_remove_mr()->set_lease(lease);
  f.mutable_remove_mr()->set_device(device);
  f.mutable_remove_mr()->set_handle(handle);
  return client.call(std::move(f)).frame.status();
}

}  // namespace mrlease::test
