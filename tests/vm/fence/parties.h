// SPDX-License-Identifier: Apache-2.0
// The processes of the test: an unprivileged CLIENT that owns a memory region, and an unprivileged PEER that writes to it
// through the device. The root process that forked them gives orders over sockets and fences the client.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <vector>

#include "daemon/fence/fence.h"
#include "proto/fd_passing.h"
#include "verbs.h"

namespace mrlease::vm {

enum class Memory { Pinned, OdpGated };

struct Order {
  enum Kind { Connect, WritePage, ReuseByMr, ReuseByCq, CheckCq } kind;
  Endpoint other;             // Connect
  std::uint64_t address;      // WritePage
  std::uint32_t rkey, qp;     // WritePage
};
struct Answer {
  int value;  // errno, ibv_wc_status, or the new handle's
  std::uint32_t handle, lkey, rkey;
  std::uint64_t address, length;
  Endpoint self;
};

// A forked process; killed and reaped with the object.
class Party {
 public:
  Party() = default;
  Party(const Party&) = delete;
  Party& operator=(const Party&) = delete;
  ~Party();

  void tell(const Order& order);
  // The answer to tell(), with the descriptors that came along; value -2 when the process is gone or 90 s have passed.
  Answer hear(std::vector<fence::SharedFd>* fds = nullptr);
  Answer ask(const Order& order);
  bool exited(int timeout_ms) const;
  void signal(int number) const;

  pid_t pid = -1;
  fence::SharedFd pidfd, socket;
};

// The first answer: value 0 or errno; the region; descriptors: cmd_fd, and with OdpGated the userfaultfd.
// userfaultfd_device: /dev/userfaultfd, opened by root, as the daemon hands it to a client. with_child: a child
// of the client holds its descriptors too, and does nothing.
Answer start_client(Party* party, Memory memory, int userfaultfd_device, bool with_child, std::vector<fence::SharedFd>* fds);
Answer start_peer(Party* party);

}  // namespace mrlease::vm
