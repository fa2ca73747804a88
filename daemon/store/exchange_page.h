// SPDX-License-Identifier: Apache-2.0
// Changing a page that a device may be writing.
#pragma once

#include <cstdint>

namespace mrlease::store {

// Each word of the page at `offset` of `memfd` that is still as in `was` becomes what it is in `becomes`; what a device has written
// meanwhile stays. Both have a page's bytes. The memfd is sealed against shrinking and reaches beyond the page. 0 or errno.
int exchange_page(int memfd, std::uint64_t offset, const char* was, const char* becomes);

}  // namespace mrlease::store
