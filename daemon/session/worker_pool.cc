// SPDX-License-Identifier: Apache-2.0
#include "daemon/session/worker_pool.h"

#include <system_error>
#include <thread>

namespace mrlease::session {

struct WorkerPool::State {
  std::mutex mutex;
  std::condition_variable wake;
  std::deque<std::function<void()>> tasks;
  int threads = 0, idle = 0, threads_max = 0;
  bool stop = false;
};

WorkerPool::WorkerPool(int threads_max) : state_(std::make_shared<State>()) { state_->threads_max = threads_max; }

WorkerPool::~WorkerPool() {
  std::lock_guard lock(state_->mutex);
  state_->stop = true;
  state_->wake.notify_all();
}

bool WorkerPool::ready() {
  std::lock_guard lock(state_->mutex);
  return state_->threads > 0 || add_thread();
}

void WorkerPool::run(std::function<void()> task) {
  std::lock_guard lock(state_->mutex);
  state_->tasks.push_back(std::move(task));
  if (state_->idle >= static_cast<int>(state_->tasks.size()) || state_->threads >= state_->threads_max) {
    state_->wake.notify_one();
    return;
  }
  (void)add_thread();  // without it another one, or the next call, takes the task
}

bool WorkerPool::add_thread() try {
  std::thread([state = state_] {
    std::unique_lock inner(state->mutex);
    for (;;) {
      state->idle++;
      state->wake.wait(inner, [&] { return state->stop || !state->tasks.empty(); });
      state->idle--;
      if (state->stop) return;
      auto next = std::move(state->tasks.front());
      state->tasks.pop_front();
      inner.unlock();
      next();
      next = nullptr;
      inner.lock();
    }
  }).detach();
  state_->threads++;
  return true;
} catch (const std::system_error&) {
  return false;
}

}  // namespace mrlease::session
