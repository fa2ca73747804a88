// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace mrlease::store {

// After an fsync(2) that has failed: the kernel tells an error once and calls the pages clean, though the disk does not have them.
// What of [begin, end) of the file is in the page cache becomes dirty, so that the next fsync(2) writes it or fails as well.
// Contents stay. file is open for reading and writing. Nothing is done beyond the file's end.
void dirty_again(int file, std::uint64_t begin, std::uint64_t end);

}  // namespace mrlease::store
