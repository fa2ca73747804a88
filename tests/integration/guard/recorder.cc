// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/guard/recorder.h"

namespace mrlease::guard::test {
namespace {

constexpr std::chrono::seconds kDeadline{5};

}  // namespace

Listener Recorder::listener() {
  auto add = [this](auto change) {
    std::lock_guard lock(mutex_);
    change();
    changed_.notify_all();
  };
  return {[this, add](ForeignOp op) { add([&] { held_.push_back(op); }); },
          [this, add](core::BreakId id, bool sure) { add([&] { left_[id] = sure; }); },
          [this, add](core::FileKey, std::string text) { add([&] { observed_.push_back(text); }); },
          [this, add](std::string text) { add([&] { failed_.push_back(text); }); }};
}

template <class T>
std::optional<T> Recorder::take(std::vector<T>* queue) {
  std::unique_lock lock(mutex_);
  if (!changed_.wait_for(lock, kDeadline, [&] { return !queue->empty(); })) return {};
  T first = queue->front();
  queue->erase(queue->begin());
  return first;
}

std::optional<ForeignOp> Recorder::wait_held() { return take(&held_); }
std::optional<std::string> Recorder::wait_observed() { return take(&observed_); }
std::optional<std::string> Recorder::wait_failed() { return take(&failed_); }

std::optional<bool> Recorder::wait_left(core::BreakId id) {
  std::unique_lock lock(mutex_);
  if (!changed_.wait_for(lock, kDeadline, [&] { return left_.contains(id); })) return {};
  return left_[id];
}

bool Recorder::has_left(core::BreakId id) {
  std::lock_guard lock(mutex_);
  return left_.contains(id);
}

std::size_t Recorder::held_now() {
  std::lock_guard lock(mutex_);
  return held_.size();
}

std::size_t Recorder::observed_now() {
  std::lock_guard lock(mutex_);
  return observed_.size();
}

}  // namespace mrlease::guard::test
