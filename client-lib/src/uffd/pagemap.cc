// SPDX-License-Identifier: Apache-2.0
#include "client-lib/src/uffd/pagemap.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "proto/kernel_uapi.h"

namespace mrlease::client {

Pagemap::Pagemap() : fd_(::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC)) {}

Outcome Pagemap::scan(const void* begin, std::uint64_t length, bool protect, Pages* out) const {
  const std::uint64_t start = reinterpret_cast<std::uint64_t>(begin);
  out->written = PageSet(length / kPage);
  out->present = PageSet(length / kPage);
  std::vector<page_region> found(1024);
  pm_scan_arg scan{};
  scan.size = sizeof scan;
  scan.flags = protect ? PM_SCAN_WP_MATCHING : 0;
  scan.end = start + length;
  scan.vec = reinterpret_cast<std::uint64_t>(found.data());
  scan.vec_len = found.size();
  // PRESENT too: with UFFD_FEATURE_WP_UNPOPULATED empty pages count as written.
  scan.category_mask = protect ? PAGE_IS_PRESENT | PAGE_IS_WRITTEN : PAGE_IS_PRESENT;
  scan.return_mask = PAGE_IS_PRESENT | PAGE_IS_WRITTEN;
  for (scan.start = start; scan.start < scan.end; scan.start = scan.walk_end) {
    const int n = ::ioctl(fd_.get(), PAGEMAP_SCAN, &scan);
    if (n < 0) return from_errno("PAGEMAP_SCAN");
    for (int i = 0; i < n; i++) {
      for (std::uint64_t a = found[i].start; a < found[i].end; a += kPage) {
        const std::uint64_t page = (a - start) / kPage;
        out->present.add(page);
        out->count_present++;
        if ((found[i].categories & PAGE_IS_WRITTEN) == 0) continue;
        out->written.add(page);
        out->count_written++;
      }
    }
    if (scan.walk_end <= scan.start) break;
  }
  return {};
}

Outcome Pagemap::private_pages(const void* begin, std::uint64_t length, PageSet* out) const {
  // Documentation/admin-guide/mm/pagemap.rst: bit 63 present, 62 swapped, 61 file page or shared anonymous.
  constexpr std::uint64_t kPresent = 1ull << 63, kSwapped = 1ull << 62, kFileOrShared = 1ull << 61;
  const std::uint64_t pages = length / kPage, first = reinterpret_cast<std::uint64_t>(begin) / kPage;
  *out = PageSet(pages);
  std::vector<std::uint64_t> entries(std::min<std::uint64_t>(pages, 8192));
  for (std::uint64_t done = 0; done < pages;) {
    const std::uint64_t want = std::min<std::uint64_t>(entries.size(), pages - done);
    const ssize_t n = ::pread(fd_.get(), entries.data(), want * 8, static_cast<off_t>((first + done) * 8));
    if (n <= 0) return from_errno("read /proc/self/pagemap", n < 0 ? errno : EIO);
    for (std::uint64_t i = 0; i < static_cast<std::uint64_t>(n) / 8; i++) {
      const std::uint64_t e = entries[i];
      if ((e & (kPresent | kSwapped)) != 0 && (e & kFileOrShared) == 0) out->add(done + i);
    }
    done += static_cast<std::uint64_t>(n) / 8;
  }
  return {};
}

}  // namespace mrlease::client
