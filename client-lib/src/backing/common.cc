// SPDX-License-Identifier: Apache-2.0
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>

#include "client-lib/src/backing/backing.h"

namespace mrlease::client {

std::uint64_t bytes_on_file(const Services& services, std::uint64_t file_size) {
  const std::uint64_t start = services.layout().file_offset;
  return file_size <= start ? 0 : std::min(services.length(), file_size - start);
}

std::uint64_t bytes_to_register(const Services& services, std::uint64_t file_size) {
  return std::min(services.length(), page_up(bytes_on_file(services, file_size)));
}

Outcome map_store(const Layout& layout, const Store& store, PageSpan span) {
  const std::uint64_t first = layout.file_offset + span.begin * kPage, bytes = (span.end - span.begin) * kPage;
  struct stat memfd {};
  if (::fstat(store.memfd.get(), &memfd) != 0) return from_errno("fstat of the store");
  if (first < store.begin || first + bytes > store.begin + page_up(static_cast<std::uint64_t>(memfd.st_size))) {
    return {EINVAL, "the store does not cover the range that is recalled"};
  }
  void* at = layout.base + span.begin * kPage;
  if (::mmap(at, bytes, layout.protection, MAP_SHARED | MAP_FIXED, store.memfd.get(),
             static_cast<off_t>(first - store.begin)) == MAP_FAILED) {
    return from_errno("mmap of the store over the region");
  }
  return ::madvise(at, bytes, MADV_DONTFORK) == 0 ? Outcome{} : from_errno("madvise(MADV_DONTFORK)");
}

Outcome not_for_this_backing(const wire::v1::Recall& recall, const char* backing) {
  return {EOPNOTSUPP,
          "recall action " + std::to_string(recall.action()) + " is not for a lease with " + backing + " backing"};
}

}  // namespace mrlease::client
