// SPDX-License-Identifier: Apache-2.0
// A listener that remembers, and can be waited for.
#pragma once

#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "daemon/guard/guard.h"

namespace mrlease::guard::test {

// Thread-safe.
class Recorder {
 public:
  Listener listener();

  // Each takes the oldest one that was not taken yet; nothing: none came within 5 s.
  std::optional<ForeignOp> wait_held();
  std::optional<bool> wait_left(core::BreakId id);
  std::optional<std::string> wait_observed();
  std::optional<std::string> wait_failed();
  std::size_t held_now();      // not taken yet
  std::size_t observed_now();  // the same
  bool has_left(core::BreakId id);

 private:
  template <class T>
  std::optional<T> take(std::vector<T>* queue);

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<ForeignOp> held_;
  std::map<core::BreakId, bool> left_;
  std::vector<std::string> observed_, failed_;
};

}  // namespace mrlease::guard::test
