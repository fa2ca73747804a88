// SPDX-License-Identifier: Apache-2.0
// What /proc/self/pagemap says about the library's own mappings.
#pragma once

#include <cstdint>

#include "client-lib/src/util/outcome.h"
#include "client-lib/src/util/page_set.h"
#include "proto/fd_passing.h"

namespace mrlease::client {

// Thread-safe. Page numbers are counted from the address asked for.
class Pagemap {
 public:
  Pagemap();
  bool ok() const { return static_cast<bool>(fd_); }

  struct Pages {
    PageSet present, written;
    std::uint64_t count_present = 0, count_written = 0;
  };
  // Of a userfaultfd-watched range (PAGEMAP_SCAN, 6.7). written: present and written since it was write-protected.
  // protect: write-protect those again in the same step. Only with `protect` false is `present` told.
  Outcome scan(const void* begin, std::uint64_t length, bool protect, Pages* out) const;
  // Pages of a MAP_PRIVATE file mapping that are copies of their own, in memory or swapped.
  Outcome private_pages(const void* begin, std::uint64_t length, PageSet* out) const;

 private:
  wire::Fd fd_;
};

}  // namespace mrlease::client
