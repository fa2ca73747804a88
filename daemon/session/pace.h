// SPDX-License-Identifier: Apache-2.0
// How many messages of one user the loop takes in a second; what was not asked for is saved up, for a second. Pure.
#pragma once

#include <algorithm>
#include <cstdint>

namespace mrlease::session {

class Pace {
 public:
  // Microseconds until one more may be taken; 0: now. per_second: the limit now, not 0. now: microseconds, does not go back.
  std::uint64_t wait(std::uint64_t now, std::uint64_t per_second) const {
    const std::uint64_t ahead = due_ > now ? due_ - now : 0;
    return ahead + cost(per_second) > kSaved ? ahead + cost(per_second) - kSaved : 0;
  }
  void take(std::uint64_t now, std::uint64_t per_second) { due_ = std::max(due_, now) + cost(per_second); }

  // Like one that nobody has used.
  bool idle(std::uint64_t now) const { return due_ <= now; }

 private:
  static constexpr std::uint64_t kSaved = 1000000;
  static std::uint64_t cost(std::uint64_t per_second) { return std::max<std::uint64_t>(1, kSaved / per_second); }
  std::uint64_t due_ = 0;  // when all that was taken would have been taken, one after the other
};

}  // namespace mrlease::session
