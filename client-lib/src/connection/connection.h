// SPDX-License-Identifier: Apache-2.0
// The socket to mrleased and the one thread that reads it.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "client-lib/src/util/outcome.h"
#include "proto/fd_passing.h"
#include "proto/framing.h"

namespace mrlease::client {

struct Reply {
  wire::Frame frame;
  std::vector<wire::Fd> fds;
};

// What comes without having been asked for. Called on the I/O thread: must not block, must not call().
struct Sinks {
  std::function<void(wire::v1::Recall, wire::Fd)> recall;
  std::function<void(const wire::v1::Notice&)> notice;
  std::function<void(const std::string& why)> closed;  // once, never for close()
  // Another daemon has the connection: it needs the descriptors again, and speaks the wire's version Resume.version at most.
  std::function<void(std::uint32_t version)> resumed;
};

// Thread-safe.
class Connection {
 public:
  // ENOENT, ECONNREFUSED, EACCES: with what to do about it.
  static Outcome connect(const std::string& path, wire::Fd* socket);

  Connection(wire::Fd socket, Sinks sinks);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Longer than any deadline of the daemon, a freeze's hold included: see the timers in design section 4.
  static constexpr std::chrono::milliseconds kCallTimeout{120000};

  // Send and wait for the answer. `wanted`: what a good answer is (protocol::expect). on_reply runs on the I/O thread
  // before anything behind the answer is read. ENOTCONN: the daemon is gone.
  Outcome call(wire::Frame request, const std::vector<int>& fds, wire::Frame::BodyCase wanted, Reply* reply,
               std::function<void(const wire::Frame&)> on_reply = {});
  // Send what has no answer.
  Outcome send(wire::Frame frame);
  bool alive() const;
  // How many daemons have taken this connection over, each before its first answer.
  std::uint64_t successors() const;
  std::chrono::steady_clock::time_point took_over() const;  // when the last one did, or this began
  void close();  // ends the thread and every call that waits; not on the I/O thread

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mrlease::client
