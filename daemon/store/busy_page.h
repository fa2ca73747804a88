// SPDX-License-Identifier: Apache-2.0
// A copy of a page that a remote writer writes to meanwhile.
#pragma once

#include <cstdint>

#include "daemon/store/writer_progress.h"

namespace mrlease::store {

// A page of a memfd: its first `bytes` bytes, of which `copy` holds a copy.
struct PageCopy {
  int memfd = -1;
  std::uint64_t page = 0;
  std::uint64_t bytes = 0;
  char* copy = nullptr;
};

// Copies until two copies in a row are the same: a device that writes a page faster than it is copied overtakes the copy,
// which then begins with what was there before and ends with what is there now. True if two were; false after a number of
// tries, and where the page cannot be read (then `copy` is an earlier one, whole or not).
bool copy_agreeing(const PageCopy& page);

// Is the copy one of a page at rest? Copies again until a page of `others` has changed between two copies that are the
// same: who wrote to that one was not in the middle of this one. False after a number of tries; then `copy` is any copy.
bool copy_at_rest(const PageCopy& page, const Pages& others);

}  // namespace mrlease::store
