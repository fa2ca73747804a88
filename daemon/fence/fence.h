// SPDX-License-Identifier: Apache-2.0
// The fence: revoke a client's device access by force, through duplicates of its descriptors.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace mrlease::fence {

// A descriptor shared between the session and workers that may be abandoned; closes with the last holder.
class SharedFd {
 public:
  SharedFd() = default;
  explicit SharedFd(int fd);  // takes ownership
  int get() const { return fd_ ? *fd_ : -1; }
  explicit operator bool() const { return get() >= 0; }

 private:
  std::shared_ptr<const int> fd_;
};

// A memory region of a client, as it told us. driver_id: enum rdma_driver_id, rdma/rdma_user_ioctl_cmds.h.
struct Mr {
  SharedFd uverbs;
  std::uint32_t driver_id = 0;
  std::uint32_t handle = 0, lkey = 0, rkey = 0;
  std::uint64_t address = 0, length = 0;
};
// A range of the client's memory that may be registered with its userfaultfd now.
struct Gated { std::uint64_t address = 0, length = 0; };

struct Order {
  SharedFd userfaultfd;        // may be empty
  std::vector<Gated> gated;
  std::vector<Mr> mrs;
  SharedFd pidfd;              // may be empty: then a fence that fails cannot kill
  std::chrono::milliseconds deadline{500};  // for poison and destroy together
  bool kill_at_once = false;
};

enum class Outcome { Destroyed, Killed, Failed };
struct Result { Outcome outcome; std::string text; };

// Poison the gated ranges, destroy the MRs (each one first compared by QUERY_MR: handles are reused), in a detached
// worker; on failure or overrun SIGKILL by pidfd. `done` is called exactly once, from a thread of the fence's, at most
// `deadline` plus a scheduling delay later, even when the worker hangs in the kernel.
void run(Order order, std::function<void(Result)> done);

// The raw pieces, for tests and for the exit of a client. 0 or errno.
int poison(int userfaultfd, std::uint64_t address, std::uint64_t length);
// ENOENT: already gone, or the handle is somebody else's now.
int destroy_mr(const Mr& mr);

}  // namespace mrlease::fence
