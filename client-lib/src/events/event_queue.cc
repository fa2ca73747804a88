// SPDX-License-Identifier: Apache-2.0
#include "client-lib/src/events/event_queue.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <system_error>

namespace mrlease::client {
namespace {
thread_local int callbacks_on_this_thread = 0;
}

bool EventQueue::in_callback() { return callbacks_on_this_thread > 0; }

EventQueue::EventQueue(mrl_callback callback, void* user)
    : callback_(callback), user_(user), ready_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!ready_) throw std::system_error(errno, std::generic_category(), "eventfd");
}

EventQueue::~EventQueue() { stop_thread(); }

void EventQueue::start_thread() {
  if (callback_ != nullptr) thread_ = std::thread([this] { run(); });
}

void EventQueue::stop_thread() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void EventQueue::push(Event event) {
  if (callback_ == nullptr) return;
  {
    std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(event));
    const std::uint64_t one = 1;
    (void)!::write(ready_.get(), &one, sizeof one);
  }
  changed_.notify_all();
}

bool EventQueue::take(Event* event) {
  std::lock_guard lock(mutex_);
  if (waiting_.empty()) return false;
  *event = std::move(waiting_.front());
  waiting_.pop_front();
  if (waiting_.empty()) {
    std::uint64_t count;
    (void)!::read(ready_.get(), &count, sizeof count);
  }
  delivering_ = event->data.region;
  deliveries_++;
  return true;
}

void EventQueue::deliver(Event& event) {
  event.data.struct_size = sizeof event.data;
  event.data.message = event.message.c_str();
  callbacks_on_this_thread++;
  const int code = callback_(&event.data, user_);
  callbacks_on_this_thread--;
  if (event.answered) event.answered(code);
  {
    std::lock_guard lock(mutex_);
    if (--deliveries_ == 0) delivering_ = nullptr;
  }
  changed_.notify_all();
}

void EventQueue::dispatch() {
  Event event;
  while (take(&event)) {
    deliver(event);
    event = {};
  }
}

void EventQueue::forget(const mrl_region* region) {
  std::unique_lock lock(mutex_);
  waiting_.erase(
      std::remove_if(waiting_.begin(), waiting_.end(), [&](const Event& e) { return e.data.region == region; }),
      waiting_.end());
  if (in_callback()) return;  // its own delivery is the one that would be waited for
  changed_.wait(lock, [&] { return deliveries_ == 0 || (deliveries_ == 1 && delivering_ != region); });
}

void EventQueue::run() {
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return stopping_ || !waiting_.empty(); });
      if (stopping_) return;
    }
    dispatch();
  }
}

}  // namespace mrlease::client
