// SPDX-License-Identifier: Apache-2.0
// What this program has allocated: with allocations.cc in it, every operator new is counted as what the allocator gives away for it.
#pragma once

#include <cstddef>

namespace mrlease::bench {

// Bytes that live now. Not thread-safe: for programs of one thread.
std::size_t allocated();

}  // namespace mrlease::bench
