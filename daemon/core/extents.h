// SPDX-License-Identifier: Apache-2.0
// Arithmetic on extents and pages.
#pragma once

#include "daemon/core/types.h"

namespace mrlease::core {

inline constexpr std::uint64_t kPageSize = 4096;

std::uint64_t page_down(std::uint64_t offset);
std::uint64_t page_up(std::uint64_t offset);  // saturates: what cannot be rounded up is kToEnd

// What of `wanted` lies on pages of the lease that are on the file: rounded outwards to pages.
Extent pages_on_file(const Lease& lease, const Extent& wanted);
// The pages of the lease that a truncate to new_size takes off the file whole. Empty: none.
Extent cut_off(const Lease& lease, std::uint64_t new_size);
// What a client that gets its lease back is told of a file of this size: no more than a break would get out of its way.
std::uint64_t size_left(const Lease& lease, std::uint64_t file_size);
// What the break touches of the file. A truncate says it by its size, whatever its extent.
Extent touched(BreakKind kind, const Extent& extent, std::uint64_t new_size);

}  // namespace mrlease::core
