// SPDX-License-Identifier: Apache-2.0
// One client's SOCK_SEQPACKET connection: whole frames in, whole frames out, in order, with a bounded queue.
#pragma once

#include <sys/types.h>

#include <asio.hpp>
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "daemon/fence/fence.h"
#include "proto/fd_passing.h"
#include "proto/framing.h"

namespace mrlease::session {

// Used from the loop's thread only.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  using Socket = asio::generic::seq_packet_protocol::socket;
  // Takes the descriptors that it wants; the others are closed elsewhere.
  using OnFrame = std::function<void(wire::Frame, std::vector<wire::Fd>& fds)>;
  using OnClosed = std::function<void(std::string why)>;
  using Patience = std::function<std::chrono::microseconds()>;  // until the next frame may be taken; 0: now
  static constexpr std::size_t kQueueMax = 1024;  // frames that a client has not read yet

  explicit Connection(Socket socket);
  // Start reading. on_closed comes exactly once, unless close() was called first.
  void start(OnFrame on_frame, OnClosed on_closed, Patience patience);
  // Send, or queue; fds are duplicated by the kernel at sending and must live until then: they are moved in.
  void send(const wire::Frame& frame, std::vector<fence::SharedFd> fds = {});
  void close();
  int native_handle() { return socket_.native_handle(); }

 private:
  struct Outgoing {
    std::string bytes;
    std::vector<fence::SharedFd> fds;
  };
  void wait_readable();
  void read_some();
  void read_later(std::chrono::microseconds wait);
  void flush();
  void fail(std::string why);

  Socket socket_;
  const uid_t user_;
  OnFrame on_frame_;
  OnClosed on_closed_;
  Patience patience_;
  asio::steady_timer pause_;
  std::deque<Outgoing> out_;
  bool waiting_write_ = false;
  bool closed_ = false;
};

}  // namespace mrlease::session
