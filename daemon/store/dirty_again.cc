// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/dirty_again.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "daemon/store/file_work.h"
#include "daemon/store/page_io.h"

namespace mrlease::store {
namespace {

// A write fault makes a page dirty and changes nothing; MADV_POPULATE_WRITE (asm-generic/mman-common.h, 5.14) is one of each page.
// Not of those that are not in memory: a hole would get a block.
void dirty_window(char* map, std::uint64_t length) {
  const std::uint64_t pages = (length + kPage - 1) / kPage;
  std::vector<unsigned char> there(pages);
  if (::mincore(map, length, there.data()) != 0) std::fill(there.begin(), there.end(), 1);
  const auto is_there = [](unsigned char flags) { return (flags & 1) != 0; };
  for (auto run = std::find_if(there.begin(), there.end(), is_there); run != there.end();) {
    const auto stop = std::find_if_not(run, there.end(), is_there);
    // One that fails is beyond the end by now, or has no block and gets none: then it was not written by the disk's fault.
    for (auto page = run; page != stop; ++page) {
      if (::madvise(map + (page - there.begin()) * kPage, static_cast<std::size_t>(stop - page) * kPage, MADV_POPULATE_WRITE) == 0) break;
    }
    run = std::find_if(stop, there.end(), is_there);
  }
}

}  // namespace

int dirty_again(int file, std::uint64_t begin, std::uint64_t end) {
  std::uint64_t size = 0;
  if (const int code = file_size(file, &size); code != 0) return code;
  end = std::min(end, size);
  for (std::uint64_t at = begin / kPage * kPage; at < end; at += kWindow) {
    const std::uint64_t length = std::min(kWindow, end - at);
    void* const map = map_file(file, length, at);
    if (map == MAP_FAILED) return errno;
    dirty_window(static_cast<char*>(map), length);
    ::munmap(map, length);
  }
  return 0;
}

}  // namespace mrlease::store
