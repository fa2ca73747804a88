// SPDX-License-Identifier: Apache-2.0
// The longest time in which nothing got on although this thread ran: a machine that stands still is not a stalled peer.
#pragma once

#include <algorithm>
#include <cstdint>

namespace mrlease::load {

// Times: nanoseconds of one clock. One thread uses it.
class Stall {
 public:
  // Of a turn that took longer, the rest is time in which this thread did not run.
  static constexpr std::uint64_t kTurn = 20'000'000;

  // A turn of the thread's loop has ended; each is to take less than kTurn, whatever it waits for.
  void turn(std::uint64_t now) {
    if (last_turn_ && now - last_turn_ > kTurn) away_ += now - last_turn_ - kTurn;
    last_turn_ = now;
  }
  // From now on nothing has got on.
  void begin(std::uint64_t now) {
    since_ = now;
    away_before_ = away_;
  }
  // Nothing has got on since begin() either; how long that is.
  std::uint64_t goes_on(std::uint64_t now) {
    turn(now);
    const std::uint64_t length = now - std::min(now, since_ + (away_ - away_before_));
    longest_ = std::max(longest_, length);
    return length;
  }
  std::uint64_t longest() const { return longest_; }
  // How long the thread did not run, all in all.
  std::uint64_t away() const { return away_; }

 private:
  std::uint64_t last_turn_ = 0, since_ = 0, away_ = 0, away_before_ = 0, longest_ = 0;
};

}  // namespace mrlease::load
