// SPDX-License-Identifier: Apache-2.0
// Virtual time, and what is due. Two things due at one time happen in the order in which they were asked for.
#pragma once

#include <functional>
#include <queue>
#include <vector>

#include "daemon/core/types.h"

namespace mrlease::sim {

using core::Time;

class Clock {
 public:
  Time now() const { return now_; }
  void at(Time when, std::function<void()> what) { due_.push({std::max(when, now_), ++order_, std::move(what)}); }
  void in(Time delay, std::function<void()> what) { at(now_ + delay, std::move(what)); }
  // The next that is due by `until`, at its time; false: there is none, and it is `until` now.
  bool go(Time until) {
    if (due_.empty() || due_.top().when > until) {
      now_ = std::max(now_, until);
      return false;
    }
    now_ = due_.top().when;
    const std::function<void()> what = std::move(const_cast<Due&>(due_.top()).what);
    due_.pop();
    what();
    return true;
  }
  Time next() const { return due_.empty() ? core::kNever : due_.top().when; }

 private:
  struct Due {
    Time when;
    std::uint64_t order;
    std::function<void()> what;
    bool operator<(const Due& o) const { return when != o.when ? when > o.when : order > o.order; }
  };
  std::priority_queue<Due> due_;
  Time now_ = 1;
  std::uint64_t order_ = 0;
};

}  // namespace mrlease::sim
