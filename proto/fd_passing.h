// SPDX-License-Identifier: Apache-2.0
// One packet with descriptors over a SOCK_SEQPACKET socket.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace mrlease::wire {

// An owned descriptor.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& o) noexcept : fd_(o.release()) {}
  Fd& operator=(Fd&& o) noexcept;
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd();
  int get() const { return fd_; }
  int release() { int fd = fd_; fd_ = -1; return fd; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

struct Packet {
  std::string bytes;
  std::vector<Fd> fds;
};

// 0, or errno (EAGAIN: would block). Never raises SIGPIPE. The descriptors stay the caller's.
int send_packet(int socket, std::string_view bytes, const std::vector<int>& fds);
// 0, or errno (EAGAIN; ECONNRESET: the peer has closed; EMSGSIZE: truncated, with the descriptors that came). CLOEXEC is set on all.
int recv_packet(int socket, Packet* packet);

}  // namespace mrlease::wire
