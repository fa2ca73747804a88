// SPDX-License-Identifier: Apache-2.0
// For what tells nobody when it happens: a line in a log, the number of threads of a process.
#pragma once

#include <poll.h>

#include <chrono>

namespace mrlease::test {

// Whether the condition holds, now or before that time has passed.
template <class Condition>
bool comes_true(const Condition& condition, std::chrono::milliseconds within = std::chrono::seconds(10)) {
  const auto until = std::chrono::steady_clock::now() + within;
  while (!condition())
    if (std::chrono::steady_clock::now() > until) return false;
    else ::poll(nullptr, 0, 1);
  return true;
}

}  // namespace mrlease::test
