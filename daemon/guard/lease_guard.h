// SPDX-License-Identifier: Apache-2.0
// For tests, and for administrators who do not want pre-content events: only the lease guard, on any kernel.
#pragma once

#include "daemon/guard/guard.h"

namespace mrlease::guard {

// As Guard::create().
std::unique_ptr<Guard> create_lease_guard(Options options, Listener listener);

}  // namespace mrlease::guard
