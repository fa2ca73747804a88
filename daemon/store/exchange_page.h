// SPDX-License-Identifier: Apache-2.0
// Changing a page that a device may be writing.
#pragma once

#include <cstdint>

namespace mrlease::store {

// The page at `offset` of `memfd`, which is as in `was`, becomes what it is in `becomes`. Both have a page's bytes. The memfd is sealed
// against shrinking and reaches beyond the page. 0; EBUSY: a device writes to it, what it has written stays, and the rest is
// again as it was; or errno.
int exchange_page(int memfd, std::uint64_t offset, const char* was, const char* becomes);

}  // namespace mrlease::store
