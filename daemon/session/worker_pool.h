// SPDX-License-Identifier: Apache-2.0
// Threads for what may block: file work. A thread that hangs in a file system is left behind and others take over, up to
// a limit.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>

namespace mrlease::session {

// Thread-safe. The threads are detached and share the state, so that one that never returns cannot hold up the exit.
class WorkerPool {
 public:
  explicit WorkerPool(int threads_max = 64);
  ~WorkerPool();
  // Has it a thread, or can it have its first one now? Without any a task waits until there can be one and the next comes.
  bool ready();
  void run(std::function<void()> task);

 private:
  bool add_thread();  // under the state's mutex. False: there can be no more of them now

  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace mrlease::session
