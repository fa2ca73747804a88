// SPDX-License-Identifier: Apache-2.0
// Among a million leases next to nothing is in a cache: what will be looked at is asked for at once, not line by line as it is reached.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mrlease::core {

// No effect but on time; `at` need not be valid.
inline void prefetch(const void* at, std::size_t bytes) {
  constexpr std::size_t kLine = 64;
  const auto from = reinterpret_cast<std::uintptr_t>(at);  // a number: there is no arithmetic on what points to nothing
  for (std::size_t i = 0; i < bytes; i += kLine) __builtin_prefetch(reinterpret_cast<const void*>(from + i));
}

}  // namespace mrlease::core
