// SPDX-License-Identifier: Apache-2.0
// Notes from other threads to the loop. Like asio::post(), whose reactor is woken under its lock: the loop then wakes up
// only to wait for that lock, which a held operation pays for. Here the lock is free before the loop is woken.
#pragma once

#include <asio.hpp>
#include <atomic>
#include <functional>
#include <mutex>
#include <vector>

namespace mrlease::session {

// post() and announce() are thread-safe; the rest belongs to the loop's thread.
class Mailbox {
 public:
  using Note = std::function<void()>;

  // Throws std::system_error when no descriptor is left.
  explicit Mailbox(asio::io_context& loop);
  // Run in the loop, in order.
  void post(Note note);
  // A note is likely to follow within microseconds: the loop wakes up meanwhile, and waits for it awake, but not for long.
  void announce();

 private:
  void wait();
  void ring();
  void await_announced();
  void run();

  std::mutex mutex_;
  // A note is expected, and the loop was woken for it. Set under the mutex, looked at without it.
  std::atomic<bool> announced_ = false;
  std::vector<Note> notes_;
  std::vector<Note> running_;  // keeps its memory
  std::size_t next_ = 0;       // of them
  asio::posix::stream_descriptor wake_;
};

}  // namespace mrlease::session
