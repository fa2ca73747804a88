// SPDX-License-Identifier: Apache-2.0
// Events on their way to the application's callback: a queue, an eventfd that is readable while it is not empty, and
// either a thread of the library or the application's own loop that takes from it.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "mrlease/mrlease.h"
#include "proto/fd_passing.h"

namespace mrlease::client {

struct Event {
  mrl_event data{};  // struct_size and message are filled in at delivery
  std::string message;
  std::function<void(int)> answered;  // RECALL: gets what the callback returned
};

// Thread-safe. The callback runs with no lock held.
class EventQueue {
 public:
  EventQueue(mrl_callback callback, void* user);
  ~EventQueue();  // ends the thread; what still waits is dropped
  EventQueue(const EventQueue&) = delete;
  EventQueue& operator=(const EventQueue&) = delete;

  void start_thread();
  void stop_thread();  // joins; not from a callback
  bool has_callback() const { return callback_ != nullptr; }
  void push(Event event);  // dropped when there is no callback
  int fd() const { return ready_.get(); }
  void dispatch();  // delivers what waits now, without blocking
  // Drop what waits for that region and wait until no callback runs with it; nothing comes for it afterwards, provided
  // that nobody pushes more.
  void forget(const mrl_region* region);
  // Does this thread run a callback right now (of any context)?
  static bool in_callback();

 private:
  bool take(Event* event);
  void deliver(Event& event);
  void run();

  const mrl_callback callback_;
  void* const user_;
  wire::Fd ready_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Event> waiting_;
  const mrl_region* delivering_ = nullptr;
  int deliveries_ = 0;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace mrlease::client
