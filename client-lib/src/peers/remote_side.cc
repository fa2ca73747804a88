// SPDX-License-Identifier: Apache-2.0
#include "client-lib/src/peers/remote_side.h"

namespace mrlease::client::peers {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds kGoodbye{1};

}  // namespace

Outcome RemoteSide::create(ibv_qp* control, std::unique_ptr<RemoteSide>* out) {
  std::unique_ptr<verbs::MessageQueue> messages;
  Outcome o = verbs::MessageQueue::create(control, false, &messages);
  if (o.ok()) out->reset(new RemoteSide(std::move(messages)));
  return o;
}

RemoteSide::RemoteSide(std::unique_ptr<verbs::MessageQueue> messages)
    : messages_(std::move(messages)), listener_([this] { return interest(); }, [this](const std::vector<int>&) { serve(); }) {}

RemoteSide::~RemoteSide() {
  std::unique_lock lock(mutex_);
  if (remote_.ended().ok()) {
    say(Message{Kind::kBye, 0, 0, {}});
    changed_.wait_until(lock, Clock::now() + kGoodbye, [&] { return !remote_.ended().ok() || messages_->all_sent(); });
  }
  lock.unlock();
  listener_.stop();
}

Outcome RemoteSide::enter(std::uint64_t region, std::chrono::milliseconds time, Place* place) {
  std::unique_lock lock(mutex_);
  Outcome o = remote_.enter(region, place);
  if (o.code != EAGAIN || time.count() == 0) return o;
  const bool decided = changed_.wait_until(lock, Clock::now() + time, [&] {
    o = remote_.enter(region, place);
    return o.code != EAGAIN;
  });
  if (decided) return o;
  return {ETIMEDOUT, o.text + ", still after " + std::to_string(time.count()) + " ms"};
}

Outcome RemoteSide::leave(std::uint64_t region) {
  std::lock_guard lock(mutex_);
  std::optional<Message> answer;
  Outcome o = remote_.leave(region, &answer);
  say(answer);
  return o;
}

void RemoteSide::say(const std::optional<Message>& message) {
  if (!message || !remote_.ended().ok()) return;
  Outcome sent = messages_->send(encode(*message));
  if (!sent.ok()) end({ENOTCONN, "the owner cannot be told: " + sent.text});
}

void RemoteSide::hear(std::span<const unsigned char> bytes) {
  if (!remote_.ended().ok()) return;
  std::optional<Message> answer;
  Outcome o = remote_.hear(bytes, &answer);
  if (!o.ok()) return end(o);
  say(answer);
}

void RemoteSide::end(const Outcome& why) {
  remote_.end(why);
  changed_.notify_all();
  listener_.ring();
}

Interest RemoteSide::interest() {
  std::lock_guard lock(mutex_);
  return remote_.ended().ok() ? Interest{messages_->fds(), {}} : Interest{};
}

void RemoteSide::serve() {
  std::lock_guard lock(mutex_);
  if (!remote_.ended().ok()) return;
  Outcome o = messages_->take([this](std::span<const unsigned char> bytes) { hear(bytes); });
  if (!o.ok()) end({ENOTCONN, "the control connection is lost: " + o.text});
  changed_.notify_all();
}

}  // namespace mrlease::client::peers
