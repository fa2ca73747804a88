// SPDX-License-Identifier: Apache-2.0
// Among a million leases next to nothing is in a cache: what will be looked at is asked for at once, not line by line as it is reached.
#pragma once

#include <cstddef>

namespace mrlease::core {

// No effect but on time; `at` need not be valid.
inline void prefetch(const void* at, std::size_t bytes) {
  constexpr std::size_t kLine = 64;
  for (std::size_t i = 0; i < bytes; i += kLine) __builtin_prefetch(static_cast<const char*>(at) + i);
}

}  // namespace mrlease::core
