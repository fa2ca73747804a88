// SPDX-License-Identifier: Apache-2.0
// kill -9 of a daemon in the moment that a bad luck picks: the kernel has handed operations over, and the read has not returned.
#pragma once

#include <sys/types.h>

#include <functional>

namespace mrlease::test {

// The guard's thread is stopped (ptrace(2)) while `begin` begins operations that it will hold; then it goes as far as to the end of the read in
// which it gets them, as `reading` tells, and is killed there. False: it did not come so far within 20 s. The daemon is to be reaped.
bool kill_in_read(pid_t daemon, const std::function<void()>& begin, const std::function<bool()>& reading);

}  // namespace mrlease::test
