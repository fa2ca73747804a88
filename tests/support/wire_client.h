// SPDX-License-Identifier: Apache-2.0
// A client that speaks the wire by hand, so that tests can comply, hang and lie at will. Blocking, with deadlines.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "proto/fd_passing.h"
#include "proto/framing.h"

namespace mrlease::test {

struct Message {
  wire::Frame frame;
  std::vector<wire::Fd> fds;
};

// A Register, as a client asks for a lease that it has not had before.
wire::Frame to_register(wire::v1::Backing backing, std::uint64_t offset, std::uint64_t length, bool write = true, bool share = false);

class WireClient {
 public:
  // Connects and says Hello. Throws std::runtime_error.
  explicit WireClient(const std::string& socket_path, bool hello = true);
  // Send a request; its number.
  std::uint64_t send(wire::Frame frame, const std::vector<int>& fds = {});
  // Send, and wait for its answer; what else comes meanwhile is kept for next().
  Message call(wire::Frame frame, const std::vector<int>& fds = {});
  // The next frame that is not an answer to call(); nothing after `timeout`, or at the end of the connection.
  std::optional<Message> next(std::chrono::milliseconds timeout = std::chrono::seconds(10));
  // The next Recall; throws when none comes in time. Notices before it are kept in notices.
  Message recall(std::chrono::milliseconds timeout = std::chrono::seconds(10));
  void comply(const wire::v1::Recall& recall, int code = 0);
  // Register [offset, offset + length) of fd; throws with the daemon's message when refused.
  Message lease(int fd, wire::v1::Backing backing, std::uint64_t offset, std::uint64_t length, bool write = true, bool share = false);
  // End the connection, also where a forked child holds a copy of the socket.
  void hang_up();
  const wire::v1::Welcome& welcome() const { return welcome_; }
  int native_handle() const { return socket_.get(); }

  std::vector<wire::v1::Notice> notices;

 private:
  std::optional<Message> receive(std::chrono::steady_clock::time_point deadline);
  wire::Fd socket_;
  std::uint64_t next_id_ = 1;
  std::vector<Message> kept_;
  wire::v1::Welcome welcome_;
};

}  // namespace mrlease::test
