// SPDX-License-Identifier: Apache-2.0
// A thread that does one thing after the other, in the order in which they were asked for.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

namespace mrlease::client {

// Thread-safe. The destructor lets what is running finish and drops the rest.
class Lane {
 public:
  Lane() : thread_([this] { run(); }) {}
  ~Lane() { stop(); }
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  bool post(std::function<void()> task) {
    std::lock_guard lock(mutex_);
    if (stopping_) return false;
    tasks_.push_back(std::move(task));
    changed_.notify_all();
    return true;
  }
  // Not before that time.
  bool post_at(std::chrono::steady_clock::time_point time, std::function<void()> task) {
    std::lock_guard lock(mutex_);
    if (stopping_) return false;
    later_.emplace(time, std::move(task));
    changed_.notify_all();
    return true;
  }
  void stop() {
    std::deque<std::function<void()>> dropped;
    std::multimap<std::chrono::steady_clock::time_point, std::function<void()>> dropped_later;
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
      dropped.swap(tasks_);
      dropped_later.swap(later_);
      changed_.notify_all();
    }
    if (thread_.joinable()) thread_.join();
  }

 private:
  // What is due becomes a task. Under mutex_.
  bool take_due() {
    while (!later_.empty() && later_.begin()->first <= std::chrono::steady_clock::now()) {
      tasks_.push_back(std::move(later_.begin()->second));
      later_.erase(later_.begin());
    }
    return !tasks_.empty();
  }
  void run() {
    std::unique_lock lock(mutex_);
    for (;;) {
      while (!stopping_ && tasks_.empty() && !take_due()) {
        if (later_.empty()) {
          changed_.wait(lock);
        } else {
          const auto next = later_.begin()->first;  // a copy: the map may change meanwhile
          changed_.wait_until(lock, next);
        }
      }
      if (stopping_) return;
      auto task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
      task = nullptr;
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;
  std::multimap<std::chrono::steady_clock::time_point, std::function<void()>> later_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace mrlease::client
