// SPDX-License-Identifier: Apache-2.0
#include "daemon/ctl/signals.h"

#include <sys/signalfd.h>
#include <unistd.h>

namespace mrlease::ctl {

Signals::Signals(std::initializer_list<int> which) {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int s : which) ::sigaddset(&set, s);
  ::pthread_sigmask(SIG_BLOCK, &set, &before_);
  fd_.reset(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

int Signals::take() {
  signalfd_siginfo info{};
  return ::read(fd_.get(), &info, sizeof info) == sizeof info ? static_cast<int>(info.ssi_signo) : 0;
}

}  // namespace mrlease::ctl
