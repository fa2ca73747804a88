// SPDX-License-Identifier: Apache-2.0
// Looks at a task of another's, in /proc, in a thread of its own: who is looked at can make that wait for as long as he likes
// (guard/lookout.h), and whoever must not wait does not.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>

namespace mrlease::sys {

// How long one is waited for; 64 of those that have not come back are left behind at the most.
constexpr std::chrono::milliseconds kApart{100};

// False: it did not end in time and may be running still, so that whatever it touches has to be shared with it. Or it was not begun:
// another look at that task has not come back, or too many others, or too much time went into such waits lately. It must not be taken for
// the answer to anything that was asked.
bool run_apart(int tid, std::function<void()> look, std::chrono::milliseconds most = kApart);

// Thread-safe. Nothing: see above. look: by value all that it needs.
template <class Look>
auto apart(int tid, Look look, std::chrono::milliseconds most = kApart) -> std::optional<decltype(look())> {
  const auto seen = std::make_shared<std::optional<decltype(look())>>();
  if (!run_apart(tid, [seen, look = std::move(look)] { *seen = look(); }, most)) return {};
  return std::move(*seen);
}

}  // namespace mrlease::sys
