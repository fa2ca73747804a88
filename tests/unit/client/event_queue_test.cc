// SPDX-License-Identifier: Apache-2.0
#include "client-lib/src/events/event_queue.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <atomic>
#include <future>
#include <vector>

namespace mrlease::client {
namespace {

struct Seen {
  std::vector<std::string> messages;
  std::atomic<int> count{0};
  std::function<int(const mrl_event*)> act;
};
int on_event(const mrl_event* event, void* user) {
  auto* seen = static_cast<Seen*>(user);
  seen->messages.emplace_back(event->message);
  EXPECT_EQ(event->struct_size, sizeof(mrl_event));
  EXPECT_TRUE(EventQueue::in_callback());
  const int code = seen->act ? seen->act(event) : 0;
  seen->count++;
  return code;
}
Event make(mrl_region* region, const std::string& message) {
  Event e;
  e.data.type = MRL_EVENT_RESTORED;
  e.data.region = region;
  e.message = message;
  return e;
}
bool readable(int fd) {
  pollfd p{fd, POLLIN, 0};
  return ::poll(&p, 1, 0) == 1;
}
mrl_region* fake(int n) { return reinterpret_cast<mrl_region*>(static_cast<std::uintptr_t>(n * 16)); }

TEST(EventQueue, OwnLoopDeliversInOrderAndTheDescriptorTells) {
  Seen seen;
  EventQueue queue(on_event, &seen);
  EXPECT_FALSE(readable(queue.fd()));
  queue.push(make(fake(1), "a"));
  queue.push(make(fake(1), "b"));
  EXPECT_TRUE(readable(queue.fd()));
  queue.dispatch();
  EXPECT_FALSE(readable(queue.fd()));
  EXPECT_EQ(seen.messages, (std::vector<std::string>{"a", "b"}));
  EXPECT_FALSE(EventQueue::in_callback());
}

TEST(EventQueue, WithoutCallbackNothingWaits) {
  EventQueue queue(nullptr, nullptr);
  queue.push(make(fake(1), "a"));
  EXPECT_FALSE(readable(queue.fd()));
}

TEST(EventQueue, TheAnswerComesBack) {
  Seen seen;
  seen.act = [](const mrl_event*) { return EINPROGRESS; };
  EventQueue queue(on_event, &seen);
  int answer = -1;
  Event e = make(fake(1), "recall");
  e.answered = [&](int code) { answer = code; };
  queue.push(std::move(e));
  queue.dispatch();
  EXPECT_EQ(answer, EINPROGRESS);
}

TEST(EventQueue, ACallbackMayPush) {
  Seen seen;
  EventQueue* at = nullptr;
  seen.act = [&](const mrl_event* e) {
    if (std::string(e->message) == "first") at->push(make(fake(2), "second"));
    return 0;
  };
  EventQueue queue(on_event, &seen);
  at = &queue;
  queue.push(make(fake(1), "first"));
  queue.dispatch();
  EXPECT_EQ(seen.messages, (std::vector<std::string>{"first", "second"}));
}

TEST(EventQueue, ForgetWaitsForTheRunningCallbackAndDropsTheRest) {
  Seen seen;
  std::promise<void> running, go_on;
  seen.act = [&](const mrl_event* e) {
    if (std::string(e->message) == "slow") {
      running.set_value();
      go_on.get_future().wait();
    }
    return 0;
  };
  EventQueue queue(on_event, &seen);
  queue.start_thread();
  queue.push(make(fake(1), "slow"));
  queue.push(make(fake(1), "dropped"));
  queue.push(make(fake(2), "kept"));
  running.get_future().wait();
  auto forgotten = std::async(std::launch::async, [&] {
    queue.forget(fake(1));
    return seen.count.load();
  });
  EXPECT_EQ(forgotten.wait_for(std::chrono::milliseconds(20)), std::future_status::timeout);
  go_on.set_value();
  EXPECT_GE(forgotten.get(), 1);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (seen.count < 2 && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  queue.stop_thread();
  EXPECT_EQ(seen.messages, (std::vector<std::string>{"slow", "kept"}));
}

}  // namespace
}  // namespace mrlease::client
