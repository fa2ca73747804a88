// SPDX-License-Identifier: Apache-2.0
#include "daemon/core/extents.h"

#include <algorithm>

namespace mrlease::core {

std::uint64_t page_down(std::uint64_t offset) { return offset & ~(kPageSize - 1); }

std::uint64_t page_up(std::uint64_t offset) {
  return offset > kToEnd - (kPageSize - 1) ? kToEnd : page_down(offset + kPageSize - 1);
}

Extent pages_on_file(const Lease& lease, const Extent& wanted) {
  return {std::max(page_down(wanted.begin), lease.extent.begin),
          std::min(page_up(wanted.end), page_up(lease.on_file_end))};
}

Extent cut_off(const Lease& lease, std::uint64_t new_size) {
  return {page_up(std::max(new_size, lease.extent.begin)), lease.on_file_end};
}

std::uint64_t size_left(const Lease& lease, std::uint64_t file_size) {
  // Off the file until it is extended, even when the file has grown back: core would not recall what lies there.
  return lease.on_file_end < lease.extent.end ? std::min(file_size, lease.on_file_end) : file_size;
}

Extent touched(BreakKind kind, const Extent& extent, std::uint64_t new_size) {
  return kind == BreakKind::Truncate ? Extent{new_size, kToEnd} : extent;
}

}  // namespace mrlease::core
