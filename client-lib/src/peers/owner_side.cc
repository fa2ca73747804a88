// SPDX-License-Identifier: Apache-2.0
#include "client-lib/src/peers/owner_side.h"

#include <infiniband/verbs.h>

#include <algorithm>
#include <future>

namespace mrlease::client::peers {
namespace {

using Clock = std::chrono::steady_clock;

class QueuePairs final : public Channel {
 public:
  QueuePairs(std::unique_ptr<verbs::MessageQueue> messages, ibv_qp* control, std::vector<ibv_qp*> data)
      : messages_(std::move(messages)), control_(control), data_(std::move(data)) {}

  Outcome send(const Message& message) override { return messages_->send(encode(message)); }
  void cut() override {
    for (ibv_qp* qp : data_) verbs::end_queue_pair(qp);
    verbs::end_queue_pair(control_);
  }

 private:
  std::unique_ptr<verbs::MessageQueue> messages_;
  ibv_qp* const control_;
  const std::vector<ibv_qp*> data_;
};

}  // namespace

OwnerSide::OwnerSide()
    : listener_([this] { return interest(); }, [this](const std::vector<int>& readable) { serve(readable); }) {}

OwnerSide::~OwnerSide() {
  listener_.stop();
  owner_.overdue(Owner::Time::max());
}

Outcome OwnerSide::add(ibv_qp* control, std::vector<ibv_qp*> data, std::uint64_t* peer) {
  std::unique_ptr<verbs::MessageQueue> messages;
  Outcome o = verbs::MessageQueue::create(control, true, &messages);
  if (!o.ok()) return o;
  verbs::MessageQueue* const queue = messages.get();
  const void* const domain = data.empty() ? control->pd : data.front()->pd;
  auto channel = std::make_unique<QueuePairs>(std::move(messages), control, std::move(data));
  std::lock_guard lock(mutex_);
  *peer = owner_.add(std::move(channel), Clock::now(), domain);
  queues_[*peer] = queue;
  listener_.ring();
  return {};
}

Outcome OwnerSide::remove(std::uint64_t peer) {
  std::lock_guard lock(mutex_);
  queues_.erase(peer);
  listener_.ring();
  return owner_.remove(peer, Clock::now());
}

Outcome OwnerSide::status(std::uint64_t peer) {
  std::lock_guard lock(mutex_);
  return owner_.status(peer);
}

OwnerCounts OwnerSide::counts() {
  std::lock_guard lock(mutex_);
  return owner_.counts();
}

Outcome OwnerSide::offer(std::uint64_t region, const Reach& reach, unsigned held_for) {
  std::lock_guard lock(mutex_);
  return owner_.offer(region, reach, held_for, Clock::now());
}

bool OwnerSide::held(std::uint64_t region, Reason why) {
  std::lock_guard lock(mutex_);
  return owner_.held(region, why);
}

void OwnerSide::hold(std::uint64_t region, Reason why, std::chrono::milliseconds time, Owner::Done done) {
  const auto now = Clock::now();
  std::lock_guard lock(mutex_);
  owner_.hold(region, why, now, now + time, std::move(done));
  listener_.ring();
}

void OwnerSide::hold_and_wait(std::uint64_t region, Reason why, std::chrono::milliseconds time) {
  std::promise<void> answered;
  hold(region, why, time, [&answered] { answered.set_value(); });
  answered.get_future().wait();
}

void OwnerSide::resume(std::uint64_t region, Reason why, const Reach& reach) {
  std::lock_guard lock(mutex_);
  owner_.resume(region, why, reach, Clock::now());
}

void OwnerSide::resize(std::uint64_t region, std::uint64_t size) {
  std::lock_guard lock(mutex_);
  owner_.resize(region, size, Clock::now());
}

void OwnerSide::end(std::uint64_t region) {
  std::lock_guard lock(mutex_);
  owner_.end(region, Clock::now());
}

void OwnerSide::forget(std::uint64_t region) {
  std::lock_guard lock(mutex_);
  owner_.forget(region, Clock::now());
}

// Whoever has left or was cut is not listened to: its queue is full of what was flushed.
Interest OwnerSide::interest() {
  std::lock_guard lock(mutex_);
  Interest interest{{}, owner_.next_deadline()};
  for (const auto& [peer, queue] : queues_) {
    if (!owner_.listens_to(peer)) continue;
    interest.fds.insert(interest.fds.end(), queue->fds().begin(), queue->fds().end());
  }
  return interest;
}

void OwnerSide::serve(const std::vector<int>& readable) {
  std::lock_guard lock(mutex_);
  const auto is_readable = [&](int fd) { return std::find(readable.begin(), readable.end(), fd) != readable.end(); };
  for (const auto& [peer, queue] : queues_) {
    if (!owner_.listens_to(peer) || std::none_of(queue->fds().begin(), queue->fds().end(), is_readable)) continue;
    Outcome o = queue->take(
        [&, number = peer](std::span<const unsigned char> bytes) { owner_.hear(number, bytes, Clock::now()); });
    if (!o.ok()) owner_.lost(peer, o, Clock::now());
  }
  owner_.overdue(Clock::now());
}

}  // namespace mrlease::client::peers
