// SPDX-License-Identifier: Apache-2.0
// For how long others may keep somebody from his work, altogether: each wait is a debt that time pays off. So that many short waits do not
// come to a long one.
#pragma once

#include <algorithm>
#include <chrono>

namespace mrlease::sys {

// Not thread-safe. The caller has the clock.
class Debt {
 public:
  using Clock = std::chrono::steady_clock;

  // Beyond `most` nothing more is to be waited for. Waits up to `free` are work, and no debt.
  Debt(Clock::duration most, Clock::duration free) : most_(most), free_(free) {}

  bool allows(Clock::time_point now) {
    owed_ = std::max(Clock::duration{}, owed_ - (now - paid_) / kPays);
    paid_ = now;
    return owed_ <= most_;
  }
  void waited(Clock::duration time) {
    if (time > free_) owed_ += std::min(time, 5 * most_);  // all of the process may have been stopped
  }

 private:
  static constexpr int kPays = 3;  // a third of the time

  const Clock::duration most_, free_;
  Clock::duration owed_{};
  Clock::time_point paid_{};
};

}  // namespace mrlease::sys
