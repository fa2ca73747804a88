// SPDX-License-Identifier: Apache-2.0
// The calling thread's last error.
#pragma once

#include "client-lib/src/util/outcome.h"

namespace mrlease::client {

// Keeps the text (clears it for success) and returns the code.
int remember(const Outcome& outcome) noexcept;
const char* last_error() noexcept;

}  // namespace mrlease::client
