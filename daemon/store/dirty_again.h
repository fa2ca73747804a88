// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace mrlease::store {

// After an fsync(2) that has failed: the kernel tells an error once and calls the pages clean, though the disk does not have them.
// What of [begin, end) of the file is in the page cache becomes dirty, so that the next fsync(2) writes it or fails as well.
// Contents stay. file is open for reading and writing. Nothing is done beyond the file's end. Whether a page is in the page cache the kernel tells
// only who may write the file (mincore(2)): to others all seem to be, and holes get blocks. 0 or the errno of what could not be mapped at all.
int dirty_again(int file, std::uint64_t begin, std::uint64_t end);

}  // namespace mrlease::store
