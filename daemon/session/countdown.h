// SPDX-License-Identifier: Apache-2.0
// Several things that end in any order, and what follows the last of them.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <utility>

namespace mrlease::session {

// Used by the loop's thread. It waits for whoever made it, too: start() when all have been added.
class Countdown {
 public:
  explicit Countdown(std::function<void()> done) : state_(std::make_shared<State>(std::move(done))) {}
  // One more to wait for: call the result once, when it is over.
  std::function<void()> add() const {
    ++state_->left;
    return [state = state_] { state->less(); };
  }
  void start() const { state_->less(); }

 private:
  struct State {
    explicit State(std::function<void()> d) : done(std::move(d)) {}
    void less() {
      if (--left == 0) done();
    }
    std::function<void()> done;
    std::size_t left = 1;
  };
  std::shared_ptr<State> state_;
};

}  // namespace mrlease::session
