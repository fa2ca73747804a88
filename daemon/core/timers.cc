// SPDX-License-Identifier: Apache-2.0
#include "daemon/core/timers.h"

namespace mrlease::core {

Time after(Time now, Time delay) { return delay > kNever - now ? kNever : now + delay; }

void Timers::set(Timer timer, Time due) {
  cancel(timer);
  if (due == kNever) return;
  due_.emplace(timer, due);
  order_.insert({due, timer});
}

void Timers::cancel(Timer timer) {
  const auto it = due_.find(timer);
  if (it == due_.end()) return;
  order_.erase({it->second, timer});
  due_.erase(it);
}

Time Timers::earliest() const { return order_.empty() ? kNever : order_.begin()->at; }

std::optional<Timer> Timers::pop(Time now) {
  if (earliest() > now || order_.empty()) return std::nullopt;
  const Timer timer = order_.begin()->timer;
  order_.erase(order_.begin());
  due_.erase(timer);
  return timer;
}

}  // namespace mrlease::core
