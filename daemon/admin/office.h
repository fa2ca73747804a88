// SPDX-License-Identifier: Apache-2.0
// The thread of the admin plane for what the loop must not spend its time on: turning events into messages, handing
// answers to gRPC, counting, writing the audit log.
#pragma once

#include <asio.hpp>
#include <thread>
#include <utility>

namespace mrlease::admin {

// post() is thread-safe. What was posted runs in order.
class Office {
 public:
  Office() : guard_(asio::make_work_guard(io_)), thread_([this] { io_.run(); }) {}
  ~Office() { stop(); }
  template <typename F>
  void post(F&& f) {
    asio::post(io_, std::forward<F>(f));
  }
  // What was posted before is done when this returns.
  void stop() {
    guard_.reset();
    if (thread_.joinable()) thread_.join();
  }

 private:
  asio::io_context io_;
  asio::executor_work_guard<asio::io_context::executor_type> guard_;
  std::thread thread_;
};

}  // namespace mrlease::admin
