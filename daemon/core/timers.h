// SPDX-License-Identifier: Apache-2.0
// Deadlines by owner; time itself is an input.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <set>

#include "daemon/core/types.h"

namespace mrlease::core {

struct Timer {
  enum class Kind : std::uint8_t { Recall, Work, Fence, Passing, Hold, Writeback };
  Kind kind;
  std::uint64_t id;  // of the recall, the work, the lease, the break or the file's writeback
  auto operator<=>(const Timer&) const = default;
};

// a + b, where kNever stays never.
Time after(Time now, Time delay);

class Timers {
 public:
  void set(Timer timer, Time due);  // instead of the one it had
  void cancel(Timer timer);
  Time earliest() const;  // kNever when there is none
  // Takes out the first that is due by `now`; those due together come in the order of Timer, so a history replays.
  std::optional<Timer> pop(Time now);

 private:
  struct Due {
    Time at;
    Timer timer;
    auto operator<=>(const Due&) const = default;
  };
  std::set<Due> order_;
  std::map<Timer, Time> due_;
};

}  // namespace mrlease::core
