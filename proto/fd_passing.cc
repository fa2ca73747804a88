// SPDX-License-Identifier: Apache-2.0
#include "proto/fd_passing.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "proto/framing.h"

namespace mrlease::wire {

Fd& Fd::operator=(Fd&& o) noexcept {
  if (this != &o) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = o.release();
  }
  return *this;
}
Fd::~Fd() {
  if (fd_ >= 0) ::close(fd_);
}

int send_packet(int socket, std::string_view bytes, const std::vector<int>& fds) {
  if (fds.size() > kFdsMax) return E2BIG;
  iovec part{const_cast<char*>(bytes.data()), bytes.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(kFdsMax * sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    const std::size_t size = fds.size() * sizeof(int);
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(size);
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(size);
    std::memcpy(CMSG_DATA(header), fds.data(), size);
  }
  ssize_t n;
  do n = ::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  while (n < 0 && errno == EINTR);
  return n < 0 ? errno : 0;
}

int recv_packet(int socket, Packet* packet) {
  // One for each thread, never cleared: 64 KiB of zeros for every small packet cost more than the packet. From the heap,
  // so that a thread of an application that preloads the library keeps its stack and its static TLS.
  thread_local const std::unique_ptr<char[]> buffer(new char[kFrameMax]);
  packet->fds.clear();
  iovec part{buffer.get(), kFrameMax};
  // Room for more descriptors than are allowed: what comes beyond is taken and closed, never leaked.
  alignas(cmsghdr) char control[CMSG_SPACE(253 * sizeof(int))] = {};  // SCM_MAX_FD, net/scm.h
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t n;
  do n = ::recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  while (n < 0 && errno == EINTR);
  if (n < 0) return errno;
  for (cmsghdr* h = CMSG_FIRSTHDR(&message); h != nullptr; h = CMSG_NXTHDR(&message, h)) {
    if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; i++) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(h) + i * sizeof(int), sizeof fd);
      packet->fds.emplace_back(fd);
    }
  }
  packet->bytes.assign(buffer.get(), static_cast<std::size_t>(n));
  if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) return EMSGSIZE;
  // A packet of zero bytes is never sent by us: on a seqpacket socket it is how the end looks.
  return n == 0 ? ECONNRESET : 0;
}

}  // namespace mrlease::wire
