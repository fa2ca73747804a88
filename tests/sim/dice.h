// SPDX-License-Identifier: Apache-2.0
// Chance that replays: every draw follows from a number and from what it is for, not from how many were drawn before. So a
// schedule that has lost half of its moves draws the same for the other half.
#pragma once

#include <cstdint>

namespace mrlease::sim {

using u64 = std::uint64_t;

constexpr u64 mix(u64 x) {  // splitmix64's finisher
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}
template <typename... Rest>
constexpr u64 mix(u64 first, u64 second, Rest... rest) {
  return mix(mix(first) ^ second, static_cast<u64>(rest)...);
}

class Dice {
 public:
  explicit Dice(u64 seed) : state_(seed) {}
  u64 next() { return mix(state_++); }
  u64 upto(u64 n) { return n == 0 ? 0 : next() % n; }  // [0, n)
  u64 between(u64 low, u64 high) { return low + upto(high - low + 1); }
  bool chance(unsigned percent) { return upto(100) < percent; }

 private:
  u64 state_;
};

}  // namespace mrlease::sim
