// SPDX-License-Identifier: Apache-2.0
// What a page looked like when it was last in the file, in 16 bytes.
#pragma once

#include <cstdint>

namespace mrlease::store {

struct PageHash {
  std::uint64_t low = 0, high = 0;
  bool operator==(const PageHash&) const = default;
};
// Matches no page: the page is to be written whatever it holds.
inline constexpr PageHash kDirty{};

// XXH3-128 of kPage bytes, keyed at the start of the process: a remote peer cannot prepare two pages that look the same.
PageHash hash_page(const char* page);

}  // namespace mrlease::store
