// SPDX-License-Identifier: Apache-2.0
// The daemon's end of the socket, played by the test: it answers what it is not told otherwise, and merges with pwrite.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

#include "client-lib/src/util/outcome.h"
#include "proto/fd_passing.h"
#include "proto/framing.h"

namespace mrlease::client {

class ScriptedDaemon {
 public:
  explicit ScriptedDaemon(wire::Fd socket, std::uint32_t version = 1);
  ~ScriptedDaemon();

  // Looked at first, on the daemon's thread; true: it has answered (or chose not to).
  using Script = std::function<bool(ScriptedDaemon&, const wire::Frame&)>;
  void script(Script script);
  bool grant_userfaultfd = false;
  wire::v1::Granted granted;  // what Register is answered with; backing is taken from the request

  void send(wire::Frame frame, const std::vector<int>& fds = {});
  void reply(const wire::Frame& to, wire::Frame frame, const std::vector<int>& fds = {});
  void reply_status(const wire::Frame& to, int code, const std::string& message = {});

  // Send a recall with a new store of its length, and wait (30 s) for RecallDone: its code, -1 for none.
  int recall(wire::v1::Recall recall);
  std::uint64_t send_recall(wire::v1::Recall recall);
  int wait_done(std::uint64_t recall);
  void notice(wire::v1::Notice::Kind kind, std::uint64_t lease, std::uint64_t size = 0);
  // Wait until that many frames of the kind have come.
  bool wait_for(wire::Frame::BodyCase kind, int count);
  int count(wire::Frame::BodyCase kind);
  void hang_up();
  wire::v1::Register registered();  // the last one
  wire::v1::AddMr mr();             // the last one
  wire::v1::RecallDone recall_done();  // the last one
  int file() const { return file_.get(); }
  int bounce() const { return bounce_.get(); }

 private:
  void run();
  void answer(const wire::Frame& frame);
  Outcome merge(const wire::v1::Merge& merge);

  struct Store {
    wire::Fd memfd;
    std::uint64_t begin = 0;
  };
  const std::uint32_t version_;
  wire::Fd socket_, file_, bounce_, stop_;
  std::mutex mutex_;
  std::condition_variable changed_;
  Script script_;
  wire::v1::Register registered_;
  wire::v1::AddMr mr_;
  wire::v1::RecallDone last_done_;
  std::map<std::uint64_t, Store> stores_;
  std::map<std::uint64_t, int> done_;
  std::map<int, int> counts_;
  std::uint64_t next_ = 1;
  std::thread thread_;
};

}  // namespace mrlease::client
