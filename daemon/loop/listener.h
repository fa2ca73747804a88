// SPDX-License-Identifier: Apache-2.0
// The socket that clients connect to.
#pragma once

#include <asio.hpp>
#include <functional>
#include <string>

#include "daemon/session/connection.h"
#include "daemon/sys/fd.h"

namespace mrlease::loop {

// Owns the socket and its path; removes the path at the end. Throws std::system_error with a sentence: the socket is
// taken by a daemon that lives, its directory is missing, no permission.
class Listener {
 public:
  using OnClient = std::function<void(session::Connection::Socket)>;
  // inherited: a socket that listens already (the service manager's); its path is not ours to remove.
  Listener(asio::io_context& loop, std::string path, OnClient on_client, sys::Fd inherited = {});
  ~Listener();
  void close();
  int fd() { return socket_.native_handle(); }

 private:
  void accept_next();
  void accept_later();

  asio::io_context& loop_;
  const bool own_;
  std::string path_;
  OnClient on_client_;
  asio::posix::stream_descriptor socket_;  // a listening socket; Asio has no acceptor for generic protocols
  asio::steady_timer short_of_;            // descriptors, or memory
};

}  // namespace mrlease::loop
