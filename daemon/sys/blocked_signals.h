// SPDX-License-Identifier: Apache-2.0
// While it lives, this thread gets no signal. A thread or a process that is made meanwhile gets none either, from its first moment on.
#pragma once

#include <csignal>

namespace mrlease::sys {

class BlockedSignals {
 public:
  BlockedSignals() {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_BLOCK, &all, &before_);
  }
  ~BlockedSignals() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  BlockedSignals(const BlockedSignals&) = delete;
  BlockedSignals& operator=(const BlockedSignals&) = delete;

 private:
  sigset_t before_{};
};

}  // namespace mrlease::sys
