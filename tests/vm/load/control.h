// SPDX-License-Identifier: Apache-2.0
// The small control messages between receiver and sender, by SEND on their own connection.
#pragma once

#include <cstdint>

namespace mrlease::load {

enum class Say : std::uint32_t {
  Resume = 1,  // receiver: keys, address and limit as of now; takes `who` off the reasons to be quiet
  Pause = 2,   // receiver: adds `who` to the reasons to be quiet; answered by Paused when nothing is in flight
  Paused = 3,  // sender
  Bye = 4      // receiver: drain and leave
};

// Reasons to be quiet, or-ed.
inline constexpr std::uint32_t kRecall = 1, kDriver = 2, kExtend = 4, kNobody = 0;
inline constexpr std::uint32_t kLease = kRecall | kExtend;  // what a lease costs; the driver's are the test's own

struct Message {
  Say say;
  std::uint32_t who;
  std::uint64_t address, length;
  std::uint64_t limit;  // bytes, from address, that may be written
  std::uint32_t rkey, reserved;
};

}  // namespace mrlease::load
