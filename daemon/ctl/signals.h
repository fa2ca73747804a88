// SPDX-License-Identifier: Apache-2.0
// Signals as something to poll for. Blocked before any thread begins, so that only this sees them.
#pragma once

#include <signal.h>

#include <initializer_list>

#include "daemon/sys/fd.h"

namespace mrlease::ctl {

class Signals {
 public:
  explicit Signals(std::initializer_list<int> which);
  int fd() const { return fd_.get(); }
  int take();  // the next one's number; 0: none
  const sigset_t& before() const { return before_; }  // the mask that a child is to have

 private:
  sigset_t before_{};
  sys::Fd fd_;
};

}  // namespace mrlease::ctl
